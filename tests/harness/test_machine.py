import os
import threading

import jax
import pytest

from jaxemb.harness import machine


def test_versions_name_what_computes():
    found = machine.versions()
    assert found["jax"] == jax.__version__
    assert found["jaxemb"].startswith("0.1.0")
    assert {"python", "jaxlib", "numpy"} <= set(found)


def test_a_commit_is_only_told_of_the_packages_own_checkout(tmp_path):
    assert machine._commit(tmp_path) == ""


def test_device_counts_cores_and_not_the_devices_that_tests_force():
    assert machine.device().startswith(f"{machine.usable()}-core CPU (")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin threads to cores")
def test_pinned_holds_threads_that_were_there_before():
    before, seen, begin, end = os.sched_getaffinity(0), [], threading.Event(), threading.Event()

    def other():
        begin.wait(10)
        seen.append(os.sched_getaffinity(0))
        end.set()

    thread = threading.Thread(target=other)
    thread.start()
    with machine.pinned(1) as cores:
        begin.set()
        assert end.wait(10)
        assert cores == len(os.sched_getaffinity(0)) == len(seen[0]) == machine.usable() == 1
    thread.join()
    assert os.sched_getaffinity(0) == before


def test_pinned_to_nothing_changes_nothing():
    with machine.pinned(None) as cores:
        assert cores == machine.usable()


@pytest.mark.parametrize("cores", [0, 10_000])
def test_more_cores_than_there_are_is_refused(cores):
    with pytest.raises(ValueError, match=f"cores, got {cores}"), machine.pinned(cores):
        pass
