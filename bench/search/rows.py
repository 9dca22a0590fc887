"""The rows: hand-made ones of every library as its users would write them, and pipelines of our own codes."""

from jaxemb.harness import Pipeline, rescored

LIBRARIES: dict[str, Pipeline] = {
    "FAISS flat": Pipeline(kind="faiss"),
    "FAISS SQ8": Pipeline(kind="faiss", settings={"factory": "SQ8"}),
    "FAISS HNSW16": Pipeline(kind="faiss", settings={"factory": "HNSW16"}, search={"parameters": "efSearch=64"}),
    "FAISS HNSW16, 128": Pipeline(kind="faiss", settings={"factory": "HNSW16"}, search={"parameters": "efSearch=128"}),
    "FAISS IVF-PQ fast-scan": Pipeline(
        kind="faiss",
        settings={"factory": "IVF632,PQ25x4fs,RFlat"},
        search={"parameters": "nprobe=40,k_factor_rf=10"},
    ),
    "FAISS IVF-PQ fast-scan, int8": Pipeline(
        kind="faiss",
        settings={"factory": "IVF632,PQ25x4fs,Refine(SQ8)"},
        search={"parameters": "nprobe=40,k_factor_rf=10"},
    ),
    "FAISS RaBitQ": Pipeline(kind="faiss", settings={"factory": "RaBitQ"}),
    "FAISS IVF-RaBitQ, floats": Pipeline(
        kind="faiss",
        settings={"factory": "IVF632,RaBitQ,RFlat"},
        search={"parameters": "nprobe=40,k_factor_rf=20"},
    ),
    "ScaNN autopilot": Pipeline(kind="scann", settings={"leaves": "autopilot"}),
    **{
        f"ScaNN tree, {searched} of 632": Pipeline(
            kind="scann", settings={"leaves": 632}, search={"leaves_to_search": searched, "reorder": 100}
        )
        for searched in (40, 60, 80)
    },
    **{
        f"ScaNN tree, {stored}, {searched} of 632": Pipeline(
            kind="scann",
            settings={"leaves": 632, "stored": stored},
            search={"leaves_to_search": searched, "reorder": 100},
        )
        for stored in ("bfloat16", "int8")
        for searched in (60, 80, 120)
    },
    "ScaNN SOAR, 30 of 632": Pipeline(
        kind="scann", settings={"leaves": 632, "soar": 1.5}, search={"leaves_to_search": 30, "reorder": 100}
    ),
    "usearch f32": Pipeline(kind="usearch", search={"expansion_search": 128}),
    "usearch i8": Pipeline(kind="usearch", settings={"dtype": "i8"}, search={"expansion_search": 128}),
    "usearch b1": Pipeline(kind="usearch", compressor="hamming", settings={"dtype": "b1"}),
    "hnswlib": Pipeline(kind="hnswlib", search={"expansion_search": 64}),
}


def _listed(code: str, probes: int) -> Pipeline:
    settings = {"lists": 632, "on_disk": True, "fetch": 0}
    return Pipeline(kind="fast_scan", compressor=code, settings=settings, search={"probes": probes})


FINE = "int8-0.0001"  # the range without one value of ten thousand: GloVe has long tails

OURS: dict[str, Pipeline] = {
    **{
        f"{code}, scanned whole": Pipeline(kind="fast_scan", compressor=code)
        for code in ("aniso-25x4x0.2", "int4-0.01")
    },
    **{
        f"{code} > int8, {probes} of 632": rescored(_listed(code, probes), FINE, fetch=fetch)
        for code, fetch in (("aniso-25x4x0.2", 150), ("int4-0.01", 50))
        for probes in (40, 60, 80)
    },
    **{
        f"ScaNN's codes > int8, {searched} of 632": rescored(
            Pipeline(
                kind="scann",
                settings={"leaves": 632, "stored": "nothing"},
                search={"leaves_to_search": searched},
            ),
            FINE,
            fetch=100,
        )
        for searched in (50, 80, 120)
    },
    **{
        f"ScaNN's SOAR codes > rabitq-8, {searched} of 632": rescored(
            Pipeline(
                kind="scann",
                settings={"leaves": 632, "soar": 1.5, "stored": "nothing"},
                search={"leaves_to_search": searched},
            ),
            "rabitq-8",
            fetch=100,
        )
        for searched in (30, 40, 60)
    },
    "int8 exact": Pipeline(compressor="int8"),
}


def _bits(bits: int) -> dict[str, Pipeline]:
    """256 bits as recurrent codes, by SDC, as FAISS says it and scored again; and with the query as floats."""
    name = f"bebr-{256 // bits}x{bits}"
    sdc = {"symmetric": True}
    return {
        f"SDC {name}, unscored": Pipeline(kind="fast_scan", compressor=name, settings=sdc, search={"fetch": 0}),
        f"SDC {name}": Pipeline(kind="fast_scan", compressor=name, settings=sdc, search={"fetch": 100}),
        f"float query, {name}": Pipeline(kind="fast_scan", compressor=name, search={"fetch": 100}),
    }


EQUAL_BITS: dict[str, Pipeline] = {
    "Hamming, 256 bits": Pipeline(kind="faiss", compressor="hamming", settings={"factory": "BFlat"}),
    "float flat, 256 numbers": Pipeline(kind="faiss"),
    **_bits(1),
    **_bits(2),
    **_bits(4),
}
"""Of normal vectors of 256 numbers: how long SDC and Hamming distance of equal bits take."""

ROWS: dict[str, Pipeline] = {**LIBRARIES, **OURS}
"""Of GloVe."""
