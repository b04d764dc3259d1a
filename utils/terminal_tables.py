"""Tables on the terminal: names to the left, figures to the right."""

from collections.abc import Collection, Iterable, Sequence

from utils.logs import console


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str] = (), wrap: bool = False) -> None:
    """Print rows of text below a header.

    Args:
        header: names of the columns.
        rows: of as many cells.
        left: columns that are flush left, as the first one always is; all others are flush right.
        wrap: break cells that are wider than the terminal.
    """
    # Imported on use: most calls of the program print no table.
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if not number or name in left else "right")
    for row in rows:
        table.add_row(*row)
        if any("\n" in cell for cell in row):
            # Rows of several lines stand apart.
            table.add_row()
    # Names of files and classes may hold brackets, which are no markup here.
    console().print(table, markup=False, soft_wrap=not wrap)
