"""Which small faults in the code do the tests notice? Sixty mutants, each run against its tests.

    python -m tests.mutants --out reports/latest

A mutant is the package with one expression changed: + for −, < for <=, a constant moved, a term
dropped, axes transposed. The seed chooses twelve in each part of `PARTS`. The mutated package is a
temporary copy; the quick tests of the changed file run against it, then those of its whole folder.
The mutant is caught if a test fails or `CPU_SECONDS` are over.

`mutants.csv` gets a row after each mutant. A second run goes on from there, and runs those that
survived again, as new tests may catch them. With --page the list in docs/testing.md is made from
reports/reference/mutants.csv, and nothing is run.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

REFERENCE = ROOT / "reports" / "reference" / "mutants.csv"
PAGE = ROOT / "docs" / "testing.md"
START, END = "<!-- mutants -->", "<!-- /mutants -->"

PARTS = {
    "operators": ("cscsr/convolution.py", "cscsr/operators.py", "cscsr/patch_operator.py"),
    "sparse": ("cscsr/sparse/*.py",),
    "imaging": ("cscsr/imaging/*.py",),
    "csc_sr": ("cscsr/csc_sr/*.py",),
    "networks": ("cscsr/networks/*.py",),
}
PER_PART = 12
SEED = 0
CPU_SECONDS = 120
"""The processor time for a mutant's tests, several times what the slowest folder takes; of a mutant
past it, a loop does not end."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "scipy.sparse", "PIL.Image", "hypothesis", "sporco.fft"])

FIELDS = ("part", "file", "line", "kind", "before", "after", "outcome", "test", "reason")

EQUIVALENT = {
    ("cscsr/operators.py", "('circular', 'zero')", "('zero', 'circular')"): (
        "the tuple is only searched; its order shows in a message alone"
    ),
    ("cscsr/networks/crnet_b_tied.py", "1", "2"): (
        "the block of this rank is replaced by a tied one before its first use"
    ),
}
"""(file, before, after) of mutants that compute the same, and why no test can tell them apart."""

SWAPPED_OPERATORS: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
    ast.FloorDiv: ast.Mult(),
    ast.Pow: ast.Mult(),
}
SWAPPED_COMPARISONS: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
    ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(),
}
NEGATED_COMPARISONS: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Is: ast.IsNot(),
    ast.IsNot: ast.Is(),
    ast.In: ast.NotIn(),
    ast.NotIn: ast.In(),
}
EXTREMES = {"max": "min", "amax": "amin", "maximum": "minimum", "argmax": "argmin"}
EXTREMES |= {smallest: largest for largest, smallest in EXTREMES.items()}
AXIS_METHODS = ("transpose", "permute", "movedim", "swapaxes", "moveaxis")


class Mutant(NamedTuple):
    """One change: the bytes from `start` to `end` of `file` become `text`."""

    part: str
    file: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int
    text: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, str(self.line), self.before, self.after

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


class Change(NamedTuple):
    kind: str
    node: ast.expr | ast.AugAssign
    replacement: ast.expr | ast.AugAssign


def changes_of(tree: ast.AST) -> Iterator[Change]:
    """Yield the changes of a tree, in the order of the source. Docstrings, annotations, decorators,
    messages of errors and `__repr__` are left as they are."""
    if isinstance(tree, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(tree, ast.Call) and re.search(r"Error$|^unknown_name$|warn", called(tree)):
        return
    if isinstance(tree, ast.Subscript) and ast.unparse(tree.value) in ("Annotated", "Literal"):
        return
    if isinstance(tree, ast.FunctionDef):
        if tree.name in ("__repr__", "__str__"):
            return
        for default in (*tree.args.defaults, *tree.args.kw_defaults):
            yield from changes_of_default(default)
        children: Sequence[ast.AST] = tree.body
    elif isinstance(tree, ast.ClassDef):
        for node in tree.body:
            if isinstance(node, ast.AnnAssign):
                yield from changes_of_default(node.value)
        children = [node for node in tree.body if not isinstance(node, ast.AnnAssign)]
    elif isinstance(tree, ast.AnnAssign):
        children = [tree.value] if tree.value else []
    else:
        if isinstance(tree, ast.expr | ast.AugAssign):
            yield from changes_here(tree)
        children = list(ast.iter_child_nodes(tree))
    for child in children:
        yield from changes_of(child)


def changes_of_default(node: ast.expr | None) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield Change("default", node, ast.Constant(not node.value))
    elif node is not None:
        yield from (change._replace(kind="default") for change in changes_of(node))


def changes_here(node: ast.expr | ast.AugAssign) -> Iterator[Change]:
    """Yield the changes of one node, its children left as they are."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if not (is_text(left) or is_text(right)):
            if swapped := SWAPPED_OPERATORS.get(type(op)):
                kind = "+ −" if isinstance(op, ast.Add | ast.Sub) else "× ÷"
                yield Change(kind, node, ast.BinOp(left, swapped, right))
                yield Change("term", node, left)
            if isinstance(op, ast.Add | ast.Mult):
                yield Change("term", node, right)
        case ast.AugAssign(op=op) if swapped := SWAPPED_OPERATORS.get(type(op)):
            kind = "+ −" if isinstance(op, ast.Add | ast.Sub) else "× ÷"
            yield Change(kind, node, ast.AugAssign(node.target, swapped, node.value))
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                table = SWAPPED_COMPARISONS | NEGATED_COMPARISONS
                if swapped := table.get(type(op)):
                    other = copy.deepcopy(node)
                    other.ops[index] = swapped
                    kind = "not" if type(op) in NEGATED_COMPARISONS else "< <="
                    yield Change(kind, node, other)
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                left = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
                yield Change("term", node, left)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield Change("not", node, operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield Change("sign", node, operand)
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int(value)):
            yield Change("constant", node, ast.Constant(value + 1))
            if value > 0:
                yield Change("constant", node, ast.Constant(value - 1))
        case ast.Constant(value=float(value)):
            yield Change("constant", node, ast.Constant(2 * value if value else 1.0))
        case ast.Slice(lower=lower, upper=upper):
            for bound in (lower, upper):
                if bound is not None:
                    yield Change("range", bound, ast.BinOp(bound, ast.Add(), ast.Constant(1)))
        case ast.Call(args=arguments):
            yield from changes_of_call(node, arguments)
        case ast.Tuple(elts=[first, second], ctx=ast.Load()) if ast.dump(first) != ast.dump(second):
            yield Change("axes", node, ast.Tuple([second, first], ast.Load()))


def changes_of_call(node: ast.Call, arguments: list[ast.expr]) -> Iterator[Change]:
    name = called(node)
    if name == "range":
        last = arguments[min(len(arguments), 2) - 1]
        yield Change("range", last, ast.BinOp(last, ast.Sub(), ast.Constant(1)))
    elif name in EXTREMES:
        other = copy.deepcopy(node)
        if isinstance(other.func, ast.Attribute):
            other.func.attr = EXTREMES[name]
        else:
            other.func = ast.Name(EXTREMES[name])
        yield Change("extreme", node, other)
    elif name in AXIS_METHODS and len(arguments) > 2:
        first, second, *rest = arguments
        yield Change("axes", node, ast.Call(node.func, [second, first, *rest], node.keywords))


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    return ast.unparse(node.func).rpartition(".")[2]


def is_text(node: ast.expr) -> bool:
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple)


def mutants_of(part: str, file: str, source: str) -> list[Mutant]:
    """Return every mutant of a file."""
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:index])) for index in range(len(lines))]
    mutants = []
    for kind, node, replacement in changes_of(ast.parse(source)):
        assert node.end_lineno is not None and node.end_col_offset is not None
        before, after = ast.unparse(node), ast.unparse(ast.fix_missing_locations(replacement))
        text = after if isinstance(replacement, ast.AugAssign | ast.Constant) else f"({after})"
        if isinstance(replacement, ast.Tuple):  # of an index, perhaps: no brackets around slices
            text = after[1:-1] if ast.Slice in map(type, replacement.elts) else after
        mutants.append(
            Mutant(
                part=part,
                file=file,
                line=node.lineno,
                kind=kind,
                before=before,
                after=after,
                start=starts[node.lineno - 1] + node.col_offset,
                end=starts[node.end_lineno - 1] + node.end_col_offset,
                text=text,
            )
        )
    return mutants


def choose(seed: int = SEED) -> list[Mutant]:
    """Return `PER_PART` mutants of each part. The kinds take turns; of a kind, a file is drawn, and
    of the file a place. No two are of one line."""
    chosen: list[Mutant] = []
    for part, patterns in PARTS.items():
        draw = random.Random(f"{seed} {part}")
        files = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
        names = [path.relative_to(ROOT).as_posix() for path in files]
        mutants = [
            mutant
            for name in names
            for mutant in mutants_of(part, name, (ROOT / name).read_text("utf-8"))
        ]
        kinds = sorted({mutant.kind for mutant in mutants})
        draw.shuffle(kinds)
        for turn in range(PER_PART):
            kind = kinds[turn % len(kinds)]
            lines = {(mutant.file, mutant.line) for mutant in chosen}
            candidates = [m for m in mutants if m.kind == kind and (m.file, m.line) not in lines]
            file = draw.choice(sorted({mutant.file for mutant in candidates}))
            chosen.append(draw.choice([mutant for mutant in candidates if mutant.file == file]))
    return chosen


SHARED_TESTS = {
    "operators": ("test_operations.py", "sparse/test_ista.py"),
    "sparse": ("test_operations.py",),
    "csc_sr": ("test_operations.py",),
    "networks": ("test_operations.py", "test_network.py"),
}
"""Quick tests that are about a part and stand elsewhere."""


def tests_of(mutant: Mutant) -> list[list[str]]:
    """The tests of a mutant, in the order in which to run them: those of its file, of its folder,
    and those shared with other parts."""
    tests = ROOT / "tests"
    folder, name = Path(mutant.file).parent.relative_to("cscsr"), Path(mutant.file).name
    own = tests / folder / f"test_{name}"
    if mutant.part == "operators":
        own, every = tests / "test_operators.py", []
    else:
        every = sorted(path for path in own.parent.glob("test_*.py") if path != own)
    shared = [tests / name for name in SHARED_TESTS.get(mutant.part, ())]
    stages = [[own] if own.is_file() else [], every, shared]
    return [[str(path) for path in stage] for stage in stages if stage]


class FirstFailure:
    """A plugin of pytest that notes the first test, or file of tests, that fails."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid.rpartition("tests/")[2]


def run_pytest(package_folder: str, tests: list[str], answer: Connection) -> None:
    """Send the first test that fails against the package in a folder, "" if all pass."""
    os.environ["PYTHONPATH"] = package_folder
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    os.environ.setdefault("CSCSR_DATA", str(ROOT.parent / "shared" / "data"))
    os.chdir(package_folder)
    sys.path.insert(0, package_folder)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    failure = FirstFailure()
    options = ["-x", "-q", "-m", "not slow", "--tb=no", "-p", "no:cacheprovider"]
    options += ["-c", str(ROOT / "pyproject.toml")]
    status = pytest.main([*options, *tests], plugins=[failure])
    answer.send(failure.name if status else "")


def run_tests(package_folder: Path, tests: list[str]) -> str:
    """Return the first test that fails against the package in a folder; "" if all pass.

    A process is forked for it that has the large libraries loaded, the package itself not.
    """
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=run_pytest, args=(str(package_folder), tests, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:  # killed
        return f"over {CPU_SECONDS} s"
    finally:
        process.kill()
        process.join()


def try_mutant(mutant: Mutant) -> dict[str, str]:
    """Return the row of a mutant: its tests are run unless it is known to be equivalent."""
    row = {field: str(getattr(mutant, field, "")) for field in FIELDS}
    if reason := EQUIVALENT.get((mutant.file, mutant.before, mutant.after)):
        return row | {"outcome": "equivalent", "reason": reason}
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        package_folder = Path(folder)
        shutil.copytree(ROOT / "cscsr", package_folder / "cscsr")
        path = package_folder / mutant.file
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
        path.write_bytes(mutant.apply(path.read_bytes()))
        for tests in tests_of(mutant):
            if failed := run_tests(package_folder, tests):
                return row | {"outcome": "caught", "test": failed}
    return row | {"outcome": "survived"}


def table(rows: Sequence[dict[str, str]]) -> str:
    """Return the mutants as a Markdown table, one row each, headed by the number caught."""
    return "\n".join(
        [
            summary(rows),
            "",
            "| file | line | before | after | outcome |",
            "|---|---|---|---|---|",
            *(
                f"| {row['file'].removeprefix('cscsr/')} | {row['line']} | {code(row['before'])} | "
                f"{code(row['after'])} | {outcome(row)} |"
                for row in rows
            ),
        ]
    )


def block(rows: Sequence[dict[str, str]]) -> str:
    """Return the part of docs/testing.md that is made from the results."""
    return f"{START}\n{table(rows)}\n{END}"


def summary(rows: Sequence[dict[str, str]]) -> str:
    outcomes = [row["outcome"] for row in rows]
    return (
        f"Of {len(rows)} mutants the tests catch {outcomes.count('caught')}; "
        f"{outcomes.count('equivalent')} compute the same as the code, and "
        f"{outcomes.count('survived')} survive."
    )


def outcome(row: dict[str, str]) -> str:
    if row["outcome"] == "caught":
        name = row["test"].partition("[")[0].rpartition("::")[2]
        return code(name) if "::" in row["test"] else row["test"]
    return f"{row['outcome']}: {row['reason']}" if row["reason"] else row["outcome"]


def code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "latest", metavar="DIR")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    parser.add_argument("--page", action="store_true", help="write the list in docs/testing.md")
    options = parser.parse_args(arguments)
    if options.page:
        text = PAGE.read_text("utf-8")
        before, _, rest = text.partition(START)
        after = rest.partition(END)[2]
        PAGE.write_text(before + block(read_rows(REFERENCE)) + after, "utf-8")
        return
    mutants = choose()
    if options.list:
        for number, mutant in enumerate(mutants, start=1):
            place = f"{mutant.file}:{mutant.line}"
            print(f"{number:2} {place} [{mutant.kind}]  {mutant.before}  ->  {mutant.after}")
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "mutants.csv"
    rows = {tuple(row[name] for name in ("file", "line", "before", "after")): row
            for row in read_rows(path)}  # fmt: skip
    for number, mutant in enumerate(mutants, start=1):
        row = rows.get(mutant.key)
        if mutant.part in options.parts and (row is None or row["outcome"] != "caught"):
            rows[mutant.key] = row = try_mutant(mutant)
            print(f"{number:2}/{len(mutants)} {mutant.file}:{mutant.line} ", end="")
            print(f"{mutant.before} -> {mutant.after}: {row['outcome']} {row['test']}", flush=True)
            write_rows(path, [rows[m.key] for m in mutants if m.key in rows])
    results = [rows[mutant.key] for mutant in mutants if mutant.key in rows]
    print(summary(results))


if __name__ == "__main__":
    main()
