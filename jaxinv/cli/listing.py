"""The commands that list what there is: `arms` and `datasets`."""

from dataclasses import asdict, dataclass
from typing import Annotated

from jaxinv import registry
from jaxinv.cli.options import DataDir, DatasetName, Output, optional
from jaxinv.cli.output import print_json, print_names


@dataclass(kw_only=True)
class Arms(Output):
    """List the arms; with --out, draw the same images under each.

    Example: jaxinv arms --out arms.png
    """

    dataset: DatasetName = "mnist"
    """Dataset whose images --out draws."""
    out: Annotated[str | None, optional("FILE", "no picture")] = None
    """Picture to write (.png or .svg)."""

    def __call__(self) -> None:
        if self.out is not None:
            from jaxinv.experiments import contact_sheet

            contact_sheet.draw_arms(self.dataset, self.out)
        if self.json:
            from jaxinv.preprocess import describe_preprocesses

            print_json({"arms": {arm.name: arm._asdict() for arm in describe_preprocesses()}, "out": self.out})
        else:
            print_names(registry.PREPROCESSINGS)
            print("\nCompose with +, left to right: inverted+pixel_mean.")
            if self.out is not None:
                print(f"Picture: {self.out}")


@dataclass(kw_only=True)
class Datasets(Output):
    """List the datasets: which are on disk, which can be downloaded.

    Example: jaxinv datasets --data-dir ~/tensorflow_datasets
    """

    data_dir: DataDir = None
    """Folder in which tensorflow-datasets keeps its data."""

    def __call__(self) -> None:
        from jaxinv import data
        from jaxinv.report import terminal

        rows = data.describe_datasets(self.data_dir)
        if self.json:
            print_json({"datasets": [{**asdict(row), "path": str(row.path)} for row in rows]})
        else:
            print(terminal.datasets_table(rows))
