"""What a compiled program's text says, read by hand; and two programs compiled for a GPU that is not there."""

import sys
from pathlib import Path
from typing import Any

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # when pytest is started by its own name
    sys.path.insert(0, str(ROOT))

import jaxinv as ji  # noqa: E402
from benchmarks.aot import cards, figures, history, programs  # noqa: E402
from benchmarks.aot.hlo import Module, shapes  # noqa: E402
from jaxinv.engine.keeping import NOTHING  # noqa: E402
from jaxinv.engine.planning import program_spec  # noqa: E402
from jaxinv.engine.program import trace  # noqa: E402
from jaxinv.engine.resolve import resolve  # noqa: E402
from jaxinv.models import targets  # noqa: E402
from tests.datasets import tiny  # noqa: E402

LOOP = """\
HloModule jit_run, is_scheduled=true, entry_computation_layout={(f32[4,8]{1,0}, u8[100,8]{1,0})->f32[4,8]{1,0}}

%fused_gather (p0: u8[100,8], p1: s32[16]) -> f32[16,8] {
  %p0 = u8[100,8]{1,0} parameter(0)
  %p1 = s32[16]{0} parameter(1)
  %gather.1 = u8[16,8]{1,0} gather(%p0, %p1), offset_dims={1}, collapsed_slice_dims={0}, start_index_map={0}, index_vector_dim=1, slice_sizes={1,8}
  ROOT %convert.1 = f32[16,8]{1,0} convert(%gather.1)
}

%fused_store (p0: f32[50,4], p1: f32[4], p2: s32[]) -> f32[50,4] {
  %p0 = f32[50,4]{1,0} parameter(0)
  %p1 = f32[4]{0} parameter(1)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  %row = f32[1,4]{1,0} bitcast(%p1)
  ROOT %dus.1 = f32[50,4]{1,0} dynamic-update-slice(%p0, %row, %p2, %zero)
}

%body (state: (s32[], f32[4,8], f32[50,4], u8[100,8], s32[16])) -> (s32[], f32[4,8], f32[50,4], u8[100,8], s32[16]) {
  %state = (s32[], f32[4,8]{1,0}, f32[50,4]{1,0}, u8[100,8]{1,0}, s32[16]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %w = f32[4,8]{1,0} get-tuple-element(%state), index=1
  %losses = f32[50,4]{1,0} get-tuple-element(%state), index=2
  %x = u8[100,8]{1,0} get-tuple-element(%state), index=3
  %batch = s32[16]{0} get-tuple-element(%state), index=4
  %images = f32[16,8]{1,0} fusion(%x, %batch), kind=kLoop, calls=%fused_gather, metadata={op_name="jit(run)/train/while/body/gather"}
  %z = f32[4,16]{1,0} custom-call(%w, %images), custom_call_target="__cublas$lt$matmul", metadata={op_name="jit(run)/train/while/body/dot_general"}, backend_config={"operation_queue_id":"0","gemm_backend_config":{"alpha_real":1,"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["1"],"lhs_batch_dimensions":[],"rhs_batch_dimensions":[]}}}
  %loss = f32[4]{0} reduce(%z, %i), dimensions={1}, to_apply=%add
  %kept = f32[50,4]{1,0} fusion(%losses, %loss, %i), kind=kLoop, calls=%fused_store
  ROOT %next = (s32[], f32[4,8]{1,0}, f32[50,4]{1,0}, u8[100,8]{1,0}, s32[16]{0}) tuple(%i, %w, %kept, %x, %batch)
}

%condition (state: (s32[], f32[4,8], f32[50,4], u8[100,8], s32[16])) -> pred[] {
  %state = (s32[], f32[4,8]{1,0}, f32[50,4]{1,0}, u8[100,8]{1,0}, s32[16]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %n = s32[] constant(50)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (w: f32[4,8], x: u8[100,8]) -> f32[4,16] {
  %w = f32[4,8]{1,0} parameter(0)
  %x = u8[100,8]{1,0} parameter(1)
  %begin = (s32[], f32[4,8]{1,0}, f32[50,4]{1,0}, u8[100,8]{1,0}, s32[16]{0}) custom-call(%w, %x), custom_call_target="begin"
  %loop = (s32[], f32[4,8]{1,0}, f32[50,4]{1,0}, u8[100,8]{1,0}, s32[16]{0}) while(%begin), condition=%condition, body=%body, metadata={op_name="jit(run)/train/while"}, backend_config={"known_trip_count":{"n":"50"}}
  %end = f32[4,8]{1,0} get-tuple-element(%loop), index=1
  %test = f32[16,8]{1,0} constant({...})
  ROOT %logits = f32[4,16]{1,0} dot(%end, %test), lhs_contracting_dims={1}, rhs_contracting_dims={1}, metadata={op_name="jit(run)/vmap(evaluate)/dot_general"}
}
"""  # noqa: E501

MEMORY = {"temporary": 1000, "arguments": 10, "output": 20}


def compiled(text: str = LOOP, **changes: Any) -> programs.Compiled:
    return programs.Compiled(text=text, memory=MEMORY, seconds=1.0, **{"updates": 50, "evaluations": 1, **changes})


class TestReading:
    def test_shapes_and_their_bytes(self) -> None:
        assert shapes("(f32[4,8]{1,0}, u8[], pred[3]{0})") == [("f32", (4, 8)), ("u8", ()), ("pred", (3,))]
        assert Module(LOOP).computations["main"].ops["begin"].bytes == 4 + 128 + 800 + 800 + 64

    def test_what_runs_by_itself(self) -> None:
        steps = {step.op.name: step for step in Module(LOOP).steps()}
        assert list(steps) == ["begin", "images", "z", "loss", "kept", "logits"]
        assert {name: step.times for name, step in steps.items()} == {
            "begin": 1, "images": 50, "z": 50, "loss": 50, "kept": 50, "logits": 1,
        }  # fmt: skip

    def test_a_loop_is_as_long_as_its_condition_says(self) -> None:
        """Where the compiler does not note its length down (TPU)."""
        unknown = LOOP.replace(', backend_config={"known_trip_count":{"n":"50"}}', "")
        assert {step.times for step in Module(unknown).steps()} == {1, 50}
        assert {step.times for step in Module(unknown.replace("direction=LT", "direction=GT")).steps()} == {1}

    def test_bytes(self) -> None:
        """Of what is gathered from, as much as is taken; of what is changed in place, what is changed."""
        module = Module(LOOP)
        steps = {step.op.name: step for step in module.steps()}
        assert (module.written(steps["images"].op), module.read(steps["images"])) == (512, 512 + 64)
        assert (module.written(steps["z"].op), module.read(steps["z"])) == (256, 128 + 512)
        assert (module.written(steps["kept"].op), module.read(steps["kept"])) == (16, 16 + 4)

    def test_operations(self) -> None:
        module = Module(LOOP)
        steps = {step.op.name: step for step in module.steps()}
        assert module.operations(steps["z"]) == module.operations(steps["logits"]) == 2 * 4 * 16 * 8
        assert module.operations(steps["images"]) == 0

    def test_a_convolution_counts_its_kernel(self) -> None:
        text = """\
ENTRY %main (x: f32[2,9,9,3], w: f32[3,3,3,5]) -> f32[2,9,9,5] {
  %x = f32[2,9,9,3]{3,2,1,0} parameter(0)
  %w = f32[3,3,3,5]{3,2,1,0} parameter(1)
  ROOT %y = f32[2,9,9,5]{3,2,1,0} convolution(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}
"""
        module = Module(text)
        assert [module.operations(step) for step in module.steps()] == [2 * 2 * 81 * 5 * 27]

    def test_a_batch_of_products_may_be_written_as_a_convolution(self) -> None:
        text = """\
ENTRY %main (w: f32[10,20,784], x: f32[10,784,100]) -> f32[10,20,100] {
  %w = f32[10,20,784]{2,1,0} parameter(0)
  %x = f32[10,784,100]{2,1,0} parameter(1)
  ROOT %y = f32[10,20,100]{2,1,0} convolution(%w, %x), window={size=10 stride=9 lhs_dilate=10}, dim_labels=0bf_0io->0bf
}
"""
        module = Module(text)
        assert [module.operations(step) for step in module.steps()] == [2 * 10 * 20 * 784 * 100]

    def test_figures(self) -> None:
        found = figures.figures(compiled())
        assert found.kinds == {"fusion gather": 1, "__cublas$lt$matmul": 1, "reduce": 1, "fusion": 1}
        assert (found.update.kernels, found.update.operations, found.updates_a_trip) == (4, 1024, 1)
        assert found.update.written == 512 + 256 + 16 + 16
        assert (found.evaluation.kernels, found.evaluation.written, found.evaluation.read) == (1, 256, 128 + 512)

    def test_an_unrolled_loop_makes_several_updates_a_trip(self) -> None:
        found = figures.figures(compiled(LOOP.replace('"n":"50"', '"n":"10"')))
        assert (found.updates_a_trip, found.update.kernels) == (5, 0.8)

    def test_a_program_without_the_loop_is_refused(self) -> None:
        with pytest.raises(LookupError, match="no loop of 49 updates"):
            figures.figures(compiled(updates=49))

    def test_collectives_in_the_loop_are_seen(self) -> None:
        assert figures.figures(compiled()).collectives == 0
        talking = LOOP.replace("f32[4]{0} reduce(%z, %i), dimensions={1}", "f32[4]{0} all-reduce(%z)")
        assert figures.figures(compiled(talking)).collectives == 1

    def test_the_bound_is_the_slowest_of_three(self) -> None:
        card = cards.CARDS["h200"]
        part = figures.Part(kernels=4, written=4.8e9, read=4.8e9, operations=66.9e9, cycles=0)
        assert part.seconds(card, "exact") == pytest.approx({"bytes": 2e-3, "operations": 1e-3, "launches": 8e-6})
        assert part.bound(card, "exact") == "bytes"
        assert figures.Part(kernels=4, written=1, read=1, operations=1, cycles=0).bound(card, "exact") == "launches"


class TestHistory:
    def record(self, **changes: Any) -> dict[str, Any]:
        found = figures.figures(compiled(**changes)).to_dict()
        return {"card": "h200", "model": "m", "trials": 1, "precision": "exact", "devices": 1, "jaxlib": "1",
                "figures": found}  # fmt: skip

    def test_what_grows_is_named(self, tmp_path: Path) -> None:
        history.append([self.record()], tmp_path / "h.jsonl")
        past = history.load(tmp_path / "h.jsonl")
        assert history.compare(self.record(), past) == []
        worse = self.record(text=LOOP.replace("f32[16,8]", "f32[32,8]"))
        assert [line.split(":")[1].split(" of ")[0] for line in history.compare(worse, past)] == [" bytes", " bytes"]
        assert history.compare({**worse, "jaxlib": "2"}, past) == []
        assert history.load(tmp_path / "none.jsonl") == []


@pytest.mark.slow
@pytest.mark.skipif(cards.missing(cards.CARDS["h200"]) is not None, reason=str(cards.missing(cards.CARDS["h200"])))
@pytest.mark.parametrize("model", ["softmax", "cnn"])
def test_a_program_is_compiled_for_a_gpu_that_is_not_there(model: str) -> None:
    found = figures.figures(programs.compile_for(cards.CARDS["h200"], model, 4, "exact"))
    assert found.collectives == 0
    assert 1 <= found.update.kernels < 60
    assert found.update.operations > 0
    assert found.evaluation.moved > 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["softmax", "cnn_bn"])
def test_devices_never_wait_for_each_other(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """A program as accelerators get it, over four devices: no collective, in the training loop or elsewhere."""
    monkeypatch.setitem(targets.BY_PLATFORM, "cpu", targets.GPU)
    devices = tuple(jax.devices()[:4])
    assert len(devices) == 4
    study = ji.Study(dataset=tiny(), model=model, batch_size=10, steps=4, trials=8)
    resolved = resolve(study)
    (group,) = resolved.groups
    data = resolved.data(group, 60, targets.GPU)
    spec, data = program_spec(resolved, NOTHING, group, devices, 2, data)
    module = Module(trace(spec, data).lower().compile().as_text() or "")
    assert any("train" in step.op.op_name for step in module.steps())
    assert module.collectives() == []
