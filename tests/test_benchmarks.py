"""The benchmarks work, their peers do the same work, and their arithmetic is right. No times are judged here."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # when pytest is started by its own name
    sys.path.insert(0, str(ROOT))

import jaxinv as ji  # noqa: E402
from benchmarks import guard, harness, headline, jobs, machine, peers, precision, report, workers  # noqa: E402
from benchmarks.processes import Finished, run_process  # noqa: E402
from tests.datasets import tiny  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """PyTorch's threads wait for each other at every operation: slow where others are at work too."""
    if importlib.util.find_spec("torch"):
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(1)


def tiny_job(model: str, *, trials: int = 3, steps: int = 4) -> jobs.Job:
    """Images of 8×8 in 4 classes that can be told apart: each class has its own bright quarter."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 130).astype(np.int32)
    labels[:4] = range(4)
    images = rng.integers(0, 100, (130, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 100
    images = images.astype(np.uint8)
    return jobs.Job(
        model=model,
        x_train=images[:90],
        y_train=labels[:90],
        x_test=images[90:],
        y_test=labels[90:],
        batches=jobs.random_batches(trials, steps, 10, 90, seed=1),
        arms=tuple(jobs.ARMS.values()),
        learning_rate=0.05,
        initial=jobs.random_weights(model, (8, 8, 1), 4, trials, seed=2),
    )


def numpy_logits(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """float64 logits [B, C] of one trial's network, by loops and definitions."""

    def convolve(x: np.ndarray, name: str) -> np.ndarray:
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1:3]
        shifted = [padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)]
        y = np.maximum(sum(shifted) + weights[f"{name}.bias"], 0)
        return y.reshape(len(y), height // 2, 2, width // 2, 2, -1).max(axis=(2, 4))

    if "second.weight" in weights:
        x = convolve(convolve(x, "first"), "second").transpose(0, 3, 1, 2)
    x = x.reshape(len(x), -1)
    if "first.weight" in weights and "second.weight" not in weights:
        x = np.maximum(x @ weights["first.weight"].T + weights["first.bias"], 0)
    return x @ weights["last.weight"].T + weights["last.bias"]


def numpy_accuracies(job: jobs.Job) -> np.ndarray:
    """[A, T] by float64 and gradients from central differences: slow, and independent of every peer."""
    accuracies = []
    for arm in job.arms:
        x_train, x_test = (arm.scale * x.astype(np.float64) + arm.offset for x in (job.x_train, job.x_test))
        for trial in range(job.trials):
            weights = {name: value[trial].astype(np.float64) for name, value in job.initial.items()}
            if job.model == "softmax":
                weights = {"last.weight": np.zeros((4, 64)), "last.bias": np.zeros(4)}
            for batch in job.batches[trial]:
                gradient = {name: slope(weights, name, x_train[batch], job.y_train[batch]) for name in weights}
                weights = {name: value - job.learning_rate * gradient[name] for name, value in weights.items()}
            accuracies.append(np.mean(numpy_logits(weights, x_test).argmax(axis=1) == job.y_test))
    return np.reshape(accuracies, (len(job.arms), job.trials))


def slope(weights: dict[str, np.ndarray], name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the mean cross-entropy in one array of weights."""

    def loss(value: np.ndarray) -> float:
        logits = numpy_logits({**weights, name: value}, x)
        logits = logits - logits.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]))

    gradient = np.zeros(weights[name].size)
    for i in range(gradient.size):
        step = np.zeros(gradient.size)
        step[i] = 1e-6
        step = step.reshape(weights[name].shape)
        gradient[i] = (loss(weights[name] + step) - loss(weights[name] - step)) / 2e-6
    return gradient.reshape(weights[name].shape)


def results_of(job: jobs.Job) -> dict[str, np.ndarray]:
    """Accuracies [A, T] by every peer that is at hand."""
    return {peer.name: peer.prepare(job)() for peer in peers.peers_of(job.model) if not peer.missing}


class TestPeers:
    @pytest.mark.slow
    @pytest.mark.parametrize(("model", "steps"), [("softmax", 3), ("mlp", 1), ("cnn", 1)])
    def test_agree_with_numpy_in_float64(self, model, steps):
        job = replace(tiny_job(model, trials=1, steps=steps), arms=(jobs.ARMS["inverted"],))
        expected = numpy_accuracies(job)
        for name, result in results_of(job).items():
            np.testing.assert_allclose(result, expected, atol=1e-6, err_msg=name)

    @pytest.mark.parametrize("model", ["softmax", "mlp", pytest.param("cnn", marks=pytest.mark.slow)])
    def test_agree_with_one_another_after_more_steps(self, model):
        first, *others = results_of(tiny_job(model, steps=12)).items()
        for name, result in others:
            assert result.shape == (2, 3), name
            np.testing.assert_allclose(result, first[1], atol=1 / 40 + 1e-6, err_msg=f"{name}, {first[0]}")

    @pytest.mark.parametrize("model", ["softmax", "mlp", pytest.param("cnn", marks=pytest.mark.slow)])
    def test_a_second_run_starts_from_the_beginning_again(self, model):
        job = tiny_job(model)
        for peer in peers.peers_of(model):
            if not peer.missing:
                run = peer.prepare(job)
                np.testing.assert_array_equal(run(), run(), err_msg=peer.name)

    def test_learn_what_can_be_learned(self):
        job = tiny_job("softmax", steps=40)
        for peer in peers.peers_of("softmax"):
            if not peer.missing:
                assert peer.prepare(job)().min() > 0.9, peer.name

    def test_an_absent_package_is_named(self):
        peer = peers.Peer(name="x", title="X", module="x", models=("softmax",), needs="not_a_package")
        assert peer.missing == "not_a_package is not installed"


class TestJobs:
    def test_the_published_job_takes_63_gflop(self):
        job = tiny_job("softmax")
        published = jobs.Job(
            **job.__dict__
            | {
                "x_train": np.zeros((55_000, 28, 28, 1), np.uint8),
                "y_train": np.arange(55_000) % 10,
                "x_test": np.zeros((10_000, 28, 28, 1), np.uint8),
                "batches": np.zeros((100, 50, 100), np.int32),
            }
        )
        work = jobs.arithmetic(published)
        # training: forward and weight gradient; 200 networks; 784 × 10 multiply-adds an image
        assert work.training == 200 * 50 * 100 * 2 * (2 * 784 * 10)
        assert work.evaluation == 200 * 10_000 * 2 * 784 * 10
        assert work.total == 62_720_000_000

    def test_multiply_adds_are_those_that_the_shapes_ask_for(self):
        assert jobs.multiplications("mlp", (28, 28, 1), 10) == (784 * 128, 128 * 10)
        assert jobs.multiplications("cnn", (28, 28, 1), 10) == (28 * 28 * 9 * 8, 14 * 14 * 9 * 8 * 16, 7 * 7 * 16 * 10)

    def test_batches_walk_through_epochs(self):
        walk = jobs.random_batches(2, 5, 4, 10, seed=0).reshape(2, -1)
        assert (np.sort(walk[:, :10], axis=1) == np.arange(10)).all()
        assert (np.sort(walk[:, 10:], axis=1) == np.arange(10)).all()

    def test_shortened_keeps_the_first_trials_and_steps(self):
        job = tiny_job("mlp")
        short = job.shortened(2, 3)
        assert short.batches.shape == (2, 3, 10)
        np.testing.assert_array_equal(short.batches, job.batches[:2, :3])
        np.testing.assert_array_equal(short.initial["first.weight"], job.initial["first.weight"][:2])


def contender(name: str, result: list[list[float]], samples: list[float] | None = None) -> harness.Contender:
    return harness.Contender(
        name, name, lambda: lambda: np.zeros(1), samples_s=samples or [], result=np.array(result), first_s=1.0
    )


class TestHarness:
    @pytest.mark.slow
    def test_every_contender_has_every_sample_and_none_always_goes_first(self, monkeypatch):
        monkeypatch.setattr(harness, "SETTLE_S", 0.0)
        monkeypatch.setattr(harness.gc, "collect", lambda: 0)  # of all that other tests have left
        order = []

        def make(name: str) -> harness.Contender:
            return harness.Contender(name, name, lambda: lambda: order.append(name) or np.zeros((1, 1)))  # pyright: ignore[reportReturnType]

        contenders = [make("a"), make("b"), harness.Contender("c", "c", lambda: 1 / 0, skipped="not here")]  # pyright: ignore[reportArgumentType]
        harness.measure(contenders, 4)
        assert order == ["a", "b"] + ["a", "b", "b", "a"] * 2
        assert [len(one.samples_s) for one in contenders] == [4, 4, 0]
        assert [len(one.others) for one in contenders] == [4, 4, 0]

    def test_ratio_is_of_medians_and_knows_its_goal(self):
        one = harness.ratio("a / b", [4.0, 6.0, 50.0], [1.0, 2.0, 3.0], at_least=3.0)
        assert one.value == 3.0
        assert one.met
        assert harness.ratio("a / b", [4.0], [2.0], at_most=1.9).met is False
        assert harness.ratio("a / b", [4.0], [2.0]).met is None

    def test_disagreement_is_found(self):
        same = [contender("a", [[0.5, 0.6]]), contender("b", [[0.5, 0.6005]])]
        assert harness.check_agreement(same, 0.001)["b"] == pytest.approx(0.0005)
        with pytest.raises(harness.Disagreement, match=r"b and a differ by 0\.0005"):
            harness.check_agreement(same, 0.0001)
        with pytest.raises(harness.Disagreement):
            harness.check_agreement([contender("a", [[0.5]]), contender("b", [[np.nan]])], 0.1)

    def test_means_may_differ_by_chance_only(self):
        spread = np.linspace(0.4, 0.6, 50)
        harness.check_means([contender("a", [list(spread)]), contender("b", [list(spread[::-1] + 0.01)])], ["normal"])
        with pytest.raises(harness.Disagreement, match="under normal"):
            harness.check_means([contender("a", [list(spread)]), contender("b", [list(spread + 0.1)])], ["normal"])

    def test_the_ceiling_is_the_best_of_all_products(self):
        ceiling = machine.Ceiling((32,))
        ceiling.sample()
        ceiling.sample()
        assert "numpy 32" in ceiling.gflops
        assert all(len(rates) == 2 for rates in ceiling.gflops.values())
        assert ceiling.best == max(rate for rates in ceiling.gflops.values() for rate in rates)

    def test_what_is_not_finite_becomes_null(self, capsys):
        report.print_json({"a": [float("nan"), 1.0], "b": {"c": float("inf")}})
        assert json.loads(capsys.readouterr().out) == {"a": [None, 1.0], "b": {"c": None}}

    def test_tables_fit_a_terminal(self, capsys):
        names = [peer.title for peer in peers.PEERS]
        contenders = [contender(name, [[0.5], [0.25]], [0.0123, 123.4]) for name in names]
        contenders.append(harness.Contender("x", "X", lambda: lambda: np.zeros(1), skipped="x is not installed"))
        ratios = [harness.ratio(f"{name} / jaxinv", [100.0], [1.0], at_least=8.0) for name in names]
        report.Part(title="T", contenders=contenders, ratios=ratios, arms=("normal", "inverted")).show(report.console())
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 100
        [row] = [line for line in lines if line.split()[:2] == ["NumPy", "loop"] and "/" not in line]
        assert row.split()[2:] == "61.7 s 12.3 ms 1.00 s 0% 0.5000 0.2500".split()
        assert "Skipped: X: x is not installed." in lines


class TestProcesses:
    def test_peak_memory_is_the_childs_own(self):
        ballast = np.ones(40 << 20, np.uint8)  # of this process, which must not count
        small = run_process([sys.executable, "-S", "-c", "pass"])
        large = run_process([sys.executable, "-S", "-c", "x = bytearray(b'1') * (64 << 20)"])
        assert ballast.all()
        assert small.peak_bytes < 32 << 20
        assert 64 << 20 < large.peak_bytes < 96 << 20
        assert 0 < small.seconds < 60

    def test_failure_is_told_with_its_reason(self):
        with pytest.raises(RuntimeError, match=r"exit status 3\s+why"):
            run_process([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])


def benchmark_output(ours: float, peer: float) -> dict:
    contenders = [
        {"name": "jaxinv", "median_s": ours, "skipped": None},
        {"name": "numpy_loop", "median_s": peer, "skipped": None},
        {"name": "torch_bmm", "median_s": None, "skipped": "torch is not installed"},
    ]
    part = {"job": {"model": "softmax", "trials": 100}, "contenders": contenders, "products": {"best_gflops": 500.0}}
    kind = {"processor": "P", "cores": 2, "jax_devices": ["cpu: cpu"]}
    head = {"benchmark": "headline", "when": "2025-01-01", "machine": kind, "versions": {}}
    return {**head, "parts": {"warm": part, "scale": {"contenders": []}}}


class TestGuard:
    def test_only_ratios_count(self, tmp_path):
        path = tmp_path / "history" / "medians.jsonl"
        assert guard.load(path) == []
        for ours, peer in ((0.20, 1.6), (0.21, 1.7), (0.19, 1.5)):
            guard.append(path, guard.records_of(benchmark_output(ours, peer)))
        past = guard.load(path)
        assert [record["ratios"]["numpy_loop"] for record in past] == pytest.approx([8.0, 8.095, 7.895], abs=1e-3)
        [slow_machine] = guard.records_of(benchmark_output(2.0, 16.0))
        assert guard.compare(slow_machine, past) == []
        [slower] = guard.records_of(benchmark_output(0.3, 1.6))
        [complaint] = guard.compare(slower, past)
        assert "numpy_loop takes 5.33 times" in complaint

    def test_other_machines_and_jobs_are_not_compared(self):
        [record] = guard.records_of(benchmark_output(0.3, 1.6))
        [other] = guard.records_of(benchmark_output(0.1, 1.6))
        assert guard.compare(record, [other])
        assert guard.compare(record, [other | {"machine": other["machine"] | {"cores": 64}}]) == []
        assert guard.compare(record, [other | {"job": {"model": "mlp"}}]) == []

    def test_exit_status(self, tmp_path):
        history, result = tmp_path / "medians.jsonl", tmp_path / "result.json"
        command = [sys.executable, "benchmarks/guard.py", "--history", str(history), "--read", str(result), "--record"]
        result.write_text(json.dumps(benchmark_output(0.2, 1.6)))
        assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
        result.write_text(json.dumps(benchmark_output(0.4, 1.6)))
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "slower: warm: numpy_loop" in done.stdout
        assert len(history.read_text().splitlines()) == 2


def run_script(name: str, *arguments: str) -> dict:
    """A benchmark's JSON; one thread a library, for others may be at work on this machine."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, f"benchmarks/{name}.py", "--tiny", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def check_part(part: dict, names: set[str]) -> None:
    """What the JSON of a part with peers has to hold."""
    assert {one["name"] for one in part["contenders"]} == names
    for one in part["contenders"]:
        if one["skipped"]:
            assert one["skipped"].endswith("is not installed")
            continue
        assert len(one["samples_s"]) == len(one["others"]) == 2
        assert one["median_s"] == pytest.approx(np.median(one["samples_s"]))
        assert one["first_s"] > 0
        assert set(one["accuracy"]) == set(part["job"]["arms"])
    assert part["floor"]["seconds"] == pytest.approx(part["floor"]["gflop"] / part["products"]["best_gflops"])
    assert max(part["agreement"]["largest_difference"].values()) <= part["agreement"]["tolerance"]
    assert part["ratios"][-1]["what"] == "jaxinv / arithmetic floor"
    for one in part["ratios"]:
        assert one["value"] > 0
        assert one["low"] <= one["high"]


@pytest.mark.slow
class TestScripts:
    def test_headline_in_one_process(self):
        output = run_script("headline", "--parts", "warm", "scale")
        assert output["benchmark"] == "headline"
        assert {"processor", "cores", "jax_devices"} <= set(output["machine"])
        assert {"python", "jax", "numpy", "torch", "commit"} <= set(output["versions"])
        names = {"jaxinv", "numpy_loop", "torch_eager", "torch_bmm", "torch_vmap", "jax_vmap"}
        check_part(output["parts"]["warm"], names)
        assert [one["name"] for one in output["parts"]["scale"]["contenders"]] == ["trials_4", "trials_40"]

    def test_commands_of_the_cold_part_run(self, tmp_path, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        options = headline.Options(tiny=True)
        dataset, job = headline.write_files(options, tmp_path)
        assert run_process(options.command(2, dataset, "--no-cache"), cwd=str(ROOT)).peak_bytes > 1e8
        if importlib.util.find_spec("torch"):
            run_process([sys.executable, str(headline.TORCH_SCRIPT), job])

    def test_processes_are_timed_and_weighed(self, monkeypatch):
        def pretend(command: list[str], **where: object) -> Finished:
            many = "--trials 40" in " ".join(command)
            return Finished(seconds=2.0, peak_bytes=int(1.2e9 if many else 1e9), printed="")

        monkeypatch.setattr(headline, "run_process", pretend)
        options = headline.Options(tiny=True, trials=4, many=40, repeats=1)
        cold = headline.measure_cold(options)
        assert [one.name for one in cold.contenders] == ["jaxinv_no_cache", "jaxinv_again", "torch_script"]
        memory = headline.measure_memory(options)
        assert [(one.value, one.met) for one in memory.ratios] == [(1.2, True), (pytest.approx(1.2), False)]
        assert memory.facts["peak_gb"] == {"4": [1.0], "40": [1.2]}

    def test_convnet(self):
        parts = run_script("convnet", "--parts", "mlp", "cnn")["parts"]
        check_part(parts["mlp"], {"jaxinv", "torch_eager", "torch_vmap", "jax_vmap"})
        check_part(parts["cnn"], {"jaxinv", "torch_eager", "torch_channels_last", "flax_vmap"})

    def test_sharing(self):
        output = run_script("sharing", "--repeats", "1")
        assert {name: len(times) for name, times in output["samples"].items()} == {
            "8 arms together": 1,
            "8 runs of one arm": 1,
            "one arm": 1,
        }
        assert min(output["ratios"].values()) > 0

    def test_against_another_checkout(self):
        parts = run_script("against", str(ROOT))["parts"]
        assert [(one["name"], len(one["samples_s"])) for one in parts["help"]["contenders"]] == [
            ("now", 2),
            ("before", 2),
        ]

    def test_against_no_checkout(self, tmp_path):
        command = [sys.executable, "benchmarks/against.py", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            done.stderr == f"against: checkout: {tmp_path} holds no package jaxinv; give the top folder of a checkout\n"
        )

    def test_precision(self):
        rows = run_script("precision")["rows"]
        assert len(rows) == 8
        steady = [row for row in rows if row["learning_rate"] < 0.1]
        assert max(abs(row["mean"]) for row in steady) < 0.01


class TestPrecision:
    def test_weights_are_rounded_and_biases_are_not(self):
        params = {"first": {"weight": jnp.array([[1.3]]), "bias": jnp.array([0.3])}}
        model = precision.softmax_of(3).bind((1, 1, 1), 1)
        _, state = model.init(jax.random.key(0))
        logits, _ = model.apply(params, state, jnp.full((1, 1, 1, 1), 7.0), train=False, key=None)
        assert float(logits[0, 0]) == np.float32(8.75) + np.float32(0.3)

    @pytest.mark.slow
    def test_digits_that_float32_has_change_nothing(self):
        study = ji.Study(dataset=tiny(), trials=3, steps=5, batch_size=20)
        exact, full, half = (
            ji.run(study.replace(model=model)).test_loss.values
            for model in ("softmax", precision.softmax_of(23), precision.softmax_of(7))
        )
        np.testing.assert_array_equal(full, exact)
        assert 0 < np.abs(half / exact - 1).max() < 0.05

    def test_the_gradient_at_the_logits_is_rounded_and_that_of_the_weights_is_not(self):
        model, images = precision.softmax_of(3).bind((1, 1, 1), 3), jnp.full((1, 1, 1, 1), 7.0)
        params, state = model.init(jax.random.key(0))

        def loss(params: Any) -> jax.Array:
            logits, _ = model.apply(params, state, images, train=True, key=None)
            return (logits[0] * jnp.array([1.0, 1.3, -0.77])).sum()

        found = jax.grad(loss)(params)["first"]["weight"][:, 0]
        np.testing.assert_array_equal(found, np.array([7.0, 8.75, -5.25], np.float32))


def test_rates_of_workers_are_counted_between_the_first_block_and_the_last(tmp_path):
    run = workers.Shared(tmp_path, workers.Options(), seen=[(0.0, 0), (3.0, 40), (5.0, 100), (7.0, 240)])
    assert run.rate == 50.0
    row = {"workers": 1, "seconds": 9.0, "trials_per_second": run.rate, "share_of_fair_part": 0.9}
    rows: dict[str, Any] = dict.fromkeys(("one", "two", "four", "one of four killed", "one of four late"), row)
    assert workers.table(rows).splitlines()[1].split() == ["one", "9.0", "50", "1.00", "1.00"]
    assert (
        workers.best([rows, {name: {**row, "trials_per_second": 60.0} for name in rows}])["two"]["trials_per_second"]
        == 60
    )
