"""What a run's folder holds, each block checked, before the run goes on."""

from jaxinv.results.filled import FilledBlocks
from jaxinv.store.blocks import Blocks
from jaxinv.store.files import Damaged, Missing
from jaxinv.store.hierarchy import MARK
from jaxinv.store.storage import Storage


def take_stock(blocks: Blocks, finished: FilledBlocks) -> tuple[list[int], list[int], list[str]]:
    """Find the finished trials.

    Returns:
      The blocks that are damaged; those that `done` does not show as they are; and a line for each damage.
    """
    damaged, hidden, notes = [], [], []
    storage = blocks.arrays.storage
    for index, size in enumerate(finished.sizes.tolist()):
        shown, problem = -1, None
        try:
            shown = blocks.read_done(index)
        except Damaged as damage:
            problem = damage
        try:
            mark = blocks.read_mark(index)
            if mark is not None:
                blocks.read(index, mark)
            elif shown:
                raise Missing(blocks.arrays.key(MARK, index))
        except Damaged as damage:
            damaged.append(index)
            trials = f"trials {index * blocks.block} to {index * blocks.block + size - 1}"
            notes.append(f"{storage.path(damage.key)} {damage.why}; {trials} are computed again")
            continue
        filled = mark.filled if mark else 0
        finished.filled[index] = min(filled, size)
        if shown > filled:
            problem = Damaged(blocks.arrays.key("done", index), "shows trials as finished that are not")
        if problem:
            notes.append(noted(storage, problem))
        if shown != filled:
            hidden.append(index)
    return damaged, hidden, notes


def noted(storage: Storage, damage: Damaged) -> str:
    """What becomes of a damaged file that lies around the blocks."""
    return f"{storage.path(damage.key)} {damage.why}; it is written anew"
