"""One of two real processes: losses across devices, and a training step, over `jax.distributed`.

`two_processes.py RANK PORT OUT`: each process owns two CPU devices; rank 0 writes what it got to OUT.
"""

import json
import sys

import jax

rank, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)

from functools import partial  # noqa: E402

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402
from jax.sharding import AxisType, NamedSharding, PartitionSpec  # noqa: E402
from killable import batch, source  # noqa: E402

from jaxemb import data, encode, losses, train  # noqa: E402

B, D = 8, 4
LOSSES = {
    "info_nce": (losses.info_nce, ()),
    "info_nce masked": (losses.info_nce, ("ignore",)),
    "embedding_distillation": (losses.embedding_distillation, ()),
    "score_distillation": (losses.score_distillation, ("teacher",)),
    "matryoshka": (losses.matryoshka(losses.info_nce, (2, 4)), ()),
}


def inputs():
    """The same on every process; each then holds its own rows of it."""
    draw = np.random.default_rng(11)
    query, document, teacher = (draw.normal(size=size).astype(np.float32) for size in ((B, D), (B, D), (B, B)))
    return query, document, {"teacher": teacher, "ignore": draw.random((B, B)) < 0.3}


def values(loss, names, kind):
    """Loss and gradients under a mesh of all processes, by `shard_map` (kind None) or by `jit`."""
    query, document, extra = inputs()
    kwargs = {name: extra[name] for name in names}
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind or AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))

    def spread(whole):
        return jax.make_array_from_callback(whole.shape, rows, lambda index: whole[index])

    spec = PartitionSpec("data")
    across = losses.across_devices(loss, "data")
    mapped = jax.shard_map(lambda q, d, k: across(q, d, **k), mesh=mesh, in_specs=(spec,) * 3, out_specs=spec)
    each = mapped if kind is None else (lambda q, d, k: loss(q, d, **k))
    with jax.set_mesh(mesh):
        value, gradients = jax.jit(jax.value_and_grad(lambda q, d, k: each(q, d, k).mean(), argnums=(0, 1)))(
            spread(query), spread(document), jax.tree.map(spread, kwargs)
        )
    whole = multihost_utils.process_allgather(gradients, tiled=True)
    return [float(value), *(np.asarray(g).tolist() for g in whole)]


def trained(steps, checkpoints=None, make=batch, **kwargs):
    """Losses of a few steps of `fit`, with the rows of every batch shared between the processes."""
    encoder = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))
    told = []
    train.fit(
        train.pairwise(encoder, partial(losses.info_nce, temperature=0.1)),
        optax.adamw(0.05),
        data.stream(source(), batch_size=8, seed=3, make=make, shard_index=rank, shard_count=2),
        encoder.init(jax.random.key(0)),
        steps=steps,
        checkpoints=checkpoints,
        log=out + ".log.jsonl",
        watch=lambda step: told.append(step.loss),
        what=None,
        **kwargs,
    )
    return told


made = {
    f"{name} {label}": values(loss, names, kind)
    for name, (loss, names) in LOSSES.items()
    for label, kind in (("shard_map", None), ("auto", AxisType.Auto), ("explicit", AxisType.Explicit))
}


def with_negatives(records):
    """More documents than queries: on several processes they would stand between the pairs of others."""
    made = batch(records)
    return {**made, "document": jax.tree.map(lambda x: np.concatenate([x, x]), made["document"])}


made["fit"] = trained(4)
made["sharded"] = [
    *trained(2, out + ".sharded", layout=train.fully_sharded),
    *trained(4, out + ".sharded", layout=train.fully_sharded),
]
made["resumed"] = [*trained(2, out + ".checkpoints"), *trained(4, out + ".checkpoints")]
try:
    trained(1, make=with_negatives)
except ValueError as error:
    made["negatives"] = str(error)
assert jnp.asarray(1).sharding.is_fully_addressable
if rank == 0:
    with open(out, "w", encoding="utf-8") as file:
        json.dump(made, file)
jax.distributed.shutdown()
