"""Mutation tests: the suite must notice classical faults of systems that sell credits.

Each mutant is one fault, put into a copy of the real code by rewriting its syntax tree. The rewrites are
anchored on columns, on SQL and on the ledger's public verbs, not on the text, so that renaming a
variable or moving a function does not break them. A rewrite that matches nothing is an error: a mutant never
runs without its fault.

A test says which fault it notices with `@pytest.mark.notices(fault="no lock")`.

    python -m tests.support.mutants              every mutant against the tests of calls and of the ledger
    python -m tests.support.mutants NAME         only this one
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
_COPIED = ("api", "billing", "ml", "tests", "pyproject.toml")

#: What the long form runs against every mutant, on both databases.
SUITE = ("tests/billing", "tests/api/calls")

#: The replacement of a node, or None to leave it. It is called for every node, the innermost first.
Rewrite = Callable[[ast.AST], ast.AST | None]


@dataclass(frozen=True)
class Edit:
    """A rewrite of every module under `folder`; at least one node must match."""

    folder: str
    rewrite: Rewrite


@dataclass(frozen=True)
class Mutant:
    name: str
    description: str
    edits: tuple[Edit, ...]
    #: Where the marked test runs; "" if it needs none.
    #: On SQLite one writer at a time hides what only concurrent writers show.
    database: str = "sqlite"


class Verdict(StrEnum):
    NOTICED = "noticed"
    MISSED = "not noticed"
    BROKEN = "not run to its end"


@dataclass(frozen=True)
class Result:
    """`details` names the test that decided, and holds pytest's output."""

    verdict: Verdict
    details: str


# Predicates and constructors of syntax.


def _method_call(node: ast.AST, name: str) -> ast.Call | None:
    """`node` if it is `<anything>.name(...)`."""
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name
    return node if is_call else None  # type: ignore[return-value]


def _receiver(call: ast.Call) -> ast.expr:
    assert isinstance(call.func, ast.Attribute)
    return call.func.value


def _chain(node: ast.AST) -> Iterable[ast.Call]:
    """The calls of `f(x).g(y).h(z)`, the last first: h, g, f."""
    while isinstance(node, ast.Call):
        yield node
        node = node.func.value if isinstance(node.func, ast.Attribute) else node.func


def _is_function(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def _compares_column(node: ast.AST, column: str) -> bool:
    """Whether a comparison with this column is in `node`."""
    return any(
        isinstance(inner, ast.Attribute) and inner.attr == column
        for compare in ast.walk(node)
        if isinstance(compare, ast.Compare)
        for inner in ast.walk(compare)
    )


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


# Rewrites.


def _begin_without_lock(node: ast.AST) -> ast.AST | None:
    is_begin = isinstance(node, ast.Constant) and node.value == "BEGIN IMMEDIATE"
    return ast.Constant("BEGIN") if is_begin else None


def _without_method(name: str) -> Rewrite:
    """Replaces `x.name(...)` by `x`."""

    def rewrite(node: ast.AST) -> ast.AST | None:
        call = _method_call(node, name)
        return _receiver(call) if call is not None else None

    return rewrite


def _settle_by_snapshot(node: ast.AST) -> ast.AST | None:
    """Lets the statement that settles a hold take its conditions from a subquery.

    The subquery reads the transaction's snapshot, while only the condition on the id is left for the row that
    is written. This is "read, then write" in one statement.
    """
    values = _method_call(node, "values")
    if values is None or "settled_at" not in [keyword.arg for keyword in values.keywords]:
        return None
    where = next((call for call in _chain(values) if _method_call(call, "where")), None)
    update = next((call for call in _chain(values) if _is_function(call, "update")), None)
    if where is None or update is None:
        return None
    model = ast.unparse(update.args[0])
    conditions = ", ".join(ast.unparse(argument) for argument in where.args)
    subquery = f"__import__('sqlmodel').select({model}.id).where({conditions}).correlate(None)"
    where.args = [_expression(f"{model}.id.in_({subquery})")]
    return values


def _reference_not_unique(node: ast.AST) -> ast.AST | None:
    is_reference = (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "reference"
        and isinstance(node.value, ast.Call)
    )
    if not is_reference:
        return None
    assert isinstance(node, ast.AnnAssign)
    assert isinstance(node.value, ast.Call)
    kept = [keyword for keyword in node.value.keywords if keyword.arg != "unique"]
    if len(kept) == len(node.value.keywords):
        return None
    node.value.keywords = kept
    return node


def _no_unique_constraint_on_reference(node: ast.AST) -> ast.AST | None:
    """Of a table's arguments, in a migration."""
    if not isinstance(node, ast.Call):
        return None
    kept = [argument for argument in node.args if ast.unparse(argument) != "sa.UniqueConstraint('reference')"]
    if len(kept) == len(node.args):
        return None
    node.args = kept
    return node


def _find_no_earlier_call(node: ast.AST) -> ast.AST | None:
    """Lets the query for an earlier call with the same retry key find nothing."""
    where = _method_call(node, "where")
    if where is None or not any(_is_function(call, "select") for call in _chain(where)):
        return None
    if not any(_compares_column(argument, "retry_key") for argument in where.args):
        return None
    where.args.append(_expression("__import__('sqlalchemy').false()"))
    return where


def _replace_on_insert(node: ast.AST) -> ast.AST | None:
    """Lets a row with the same retry key replace the earlier one, on SQLite."""
    if not isinstance(node, ast.Call) or not _is_function(node, "insert"):
        return None
    prefixed = ast.Attribute(node, "prefix_with", ast.Load())
    dialect = ast.keyword("dialect", ast.Constant("sqlite"))
    return ast.Call(prefixed, [ast.Constant("OR REPLACE")], [dialect])


def _no_release(node: ast.AST) -> ast.AST | None:
    """Leaves out `ledger.release(...)`, unless it is for a hold whose process died."""
    call = _method_call(node.value, "release") if isinstance(node, ast.Expr) else None
    if call is None or ast.unparse(_receiver(call)) != "ledger" or "EXPIRED" in ast.unparse(call):
        return None
    return ast.Pass()


def _grace_from_period_start(node: ast.AST) -> ast.AST | None:
    """Replaces `unpaid_since or period_starts_at` by the period's start."""
    is_choice = isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)
    if (
        not is_choice
        or "unpaid_since" not in ast.unparse(node)
        or "period_starts_at" not in ast.unparse(node)
    ):
        return None
    assert isinstance(node, ast.BoolOp)
    return node.values[-1]


def _count_returned_reversals(node: ast.AST) -> ast.AST | None:
    """Drops the condition that leaves returned reversals out of a set."""
    if not isinstance(node, ast.SetComp):
        return None
    loop = node.generators[0]
    if not any("returned_at" in ast.unparse(condition) for condition in loop.ifs):
        return None
    loop.ifs = []
    return node


def _pending_refunds_ignored(node: ast.AST) -> ast.AST | None:
    """Takes "pending" out of a set of a refund's states."""
    if not isinstance(node, ast.Set):
        return None
    states = [ast.literal_eval(each) for each in node.elts if isinstance(each, ast.Constant)]
    if not {"pending", "succeeded"} <= set(states):
        return None
    node.elts = [each for each in node.elts if ast.unparse(each) != "'pending'"]
    return node


def _reversals_beyond_the_payment(node: ast.AST) -> ast.AST | None:
    """Replaces `min(payment.amount_paid, x)` by `x`."""
    if not isinstance(node, ast.Call) or not _is_function(node, "min"):
        return None
    return node.args[1] if ast.unparse(node.args[0]) == "payment.amount_paid" else None


def _find_no_purchase(node: ast.AST) -> ast.AST | None:
    """Lets no pack be found that was granted before."""
    call = _method_call(node, "get")
    if call is None or not call.args or ast.unparse(call.args[0]) != "PackPurchase":
        return None
    return ast.Constant(None)


def _reference_of_its_own(node: ast.AST) -> ast.AST | None:
    """Gives each grant of a pack another reference."""
    is_reference = isinstance(node, ast.Call) and _is_function(node, "grant_reference")
    if not is_reference or ast.unparse(node) != "grant_reference(pack.id)":
        return None
    return ast.BinOp(node, ast.Add(), _expression("__import__('secrets').token_hex(8)"))  # type: ignore[arg-type]


def _replace_purchase(node: ast.AST) -> ast.AST | None:
    """Lets the row of a purchase replace the earlier one."""
    call = _method_call(node, "add")
    if call is None or ast.unparse(call) != "session.add(stored)":
        return None
    return _expression("session.merge(stored)")


def _pack_without_end(node: ast.AST) -> ast.AST | None:
    """Grants the credits of packs without an end."""
    call = _method_call(node, "grant")
    if call is None or "GrantKind.PACK" not in [ast.unparse(each.value) for each in call.keywords]:
        return None
    for keyword in call.keywords:
        if keyword.arg == "expires_at":
            keyword.value = ast.Constant(None)
    return call


def _without_turns(node: ast.AST) -> ast.AST | None:
    """Spends first what ends first, whatever its kind."""
    call = _method_call(node, "order_by")
    if call is None or ast.unparse(call.args[0]) != "_TURN":
        return None
    del call.args[0]
    return call


MUTANTS = (
    Mutant(
        "no lock",
        "transactions begin at the first write, and the account's row is read without a lock",
        (
            Edit("api/db", _begin_without_lock),
            Edit("billing/ledger", _without_method("with_for_update")),
        ),
    ),
    Mutant(
        "read, then write",
        "a hold is read as open, and then settled without a condition or a lock",
        (
            Edit("billing/ledger", _without_method("with_for_update")),
            Edit("billing/ledger", _settle_by_snapshot),
        ),
        database="postgresql",
    ),
    Mutant(
        "no unique reference",
        "a second hold, grant or entry with the same reference is accepted",
        (
            Edit("billing/ledger", _reference_not_unique),
            Edit("api/db/migrations", _no_unique_constraint_on_reference),
            Edit("billing/ledger", _without_method("on_conflict_do_nothing")),
        ),
    ),
    Mutant(
        "dedupe after the work",
        "an earlier call with the same idempotency key is not found on admission",
        (
            Edit("api/calls", _find_no_earlier_call),
            Edit("api/calls", _replace_on_insert),
        ),
    ),
    Mutant(
        "no release",
        "a failed call keeps its credit",
        (Edit("api/calls", _no_release),),
    ),
    Mutant(
        "grace from the start of the period",
        "a payment that fails late has a shorter grace",
        (Edit("billing/subscriptions", _grace_from_period_start),),
        database="",
    ),
    Mutant(
        "a lost dispute is final",
        "a dispute that is lost after it was won takes nothing",
        (Edit("billing/subscriptions", _count_returned_reversals),),
        database="",
    ),
    Mutant(
        "pending refunds are ignored",
        "a refund that has not arrived at the bank takes no credits",
        (Edit("billing/subscriptions", _pending_refunds_ignored),),
        database="",
    ),
    Mutant(
        "reversals go beyond the payment",
        "a refund and a dispute of one payment take more than it brought",
        (Edit("billing/subscriptions", _reversals_beyond_the_payment),),
        database="",
    ),
    Mutant(
        "a pack is granted by every sync",
        "a paid checkout grants its credits each time that the customer is fetched",
        (
            Edit("billing/subscriptions", _find_no_purchase),
            Edit("billing/subscriptions", _reference_of_its_own),
            Edit("billing/subscriptions", _replace_purchase),
        ),
    ),
    Mutant(
        "a pack never ends",
        "the credits of a pack do not expire",
        (Edit("billing/subscriptions", _pack_without_end),),
    ),
    Mutant(
        "packs are not last",
        "the credits of a pack that ends first are spent before the month's own",
        (Edit("billing/ledger", _without_turns),),
    ),
)


class _Transformer(ast.NodeTransformer):
    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self.matches = 0

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        replacement = self._rewrite(node)
        if replacement is None:
            return node
        self.matches += 1
        return ast.copy_location(replacement, node)


def apply(edit: Edit, root: Path) -> int:
    """Rewrites modules under `root`. Returns how many nodes; raises ValueError if there are none."""
    matches = 0
    for path in sorted((root / edit.folder).rglob("*.py")):
        transformer = _Transformer(edit.rewrite)
        tree = ast.fix_missing_locations(transformer.visit(ast.parse(path.read_text())))
        if transformer.matches:
            path.write_text(ast.unparse(tree))
            matches += transformer.matches
    if not matches:
        raise ValueError(f"{edit.rewrite} matches nothing in {edit.folder}: adapt it to the code")
    return matches


def run(mutant: Mutant | None, *pytest_arguments: str) -> Result:
    """Runs pytest on a copy of the code, with the fault or, for None, without one."""
    with tempfile.TemporaryDirectory(prefix="bgeraser-mutant-") as folder:
        copy = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for edit in mutant.edits if mutant is not None else ():
            apply(edit, copy)
        report = copy / "report.xml"
        # Not in parallel, even if the tests that start this one are; and the copy's modules, not these.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "PYTHONPATH"))
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", str(report)]
        done = subprocess.run(
            [*command, *pytest_arguments],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        text = report.read_text() if report.exists() else ""
    verdict, test = judge(done.returncode, text)
    return Result(verdict, f"{test}\n{done.stdout}{done.stderr}")


def judge(return_code: int, report: str) -> tuple[Verdict, str]:
    """From pytest's exit code and its JUnit report: the verdict and the test that decided.

    Only an assertion that failed notices a fault. A test that timed out or ended with another error has shown
    nothing: the mutant may just be code that cannot run.
    """
    if return_code == 0:
        return Verdict.MISSED, "every test passed"
    # The report was written by pytest just now, on this machine.
    cases = list(ElementTree.fromstring(report).iter("testcase")) if report else []
    for case in cases:
        failure = case.find("failure")
        if failure is not None and failure.get("message", "").startswith(_ASSERTIONS):
            return Verdict.NOTICED, f"{case.get('classname')}::{case.get('name')}"
    return Verdict.BROKEN, f"pytest ended with {return_code}, and no assertion failed"


_ASSERTIONS = ("AssertionError", "assert ", "Failed: DID NOT RAISE")


def arguments_for_marked_tests(mutant: Mutant) -> list[str]:
    """pytest's arguments for the tests that are marked as noticing the fault."""
    return [*SUITE, "-m", f"notices(fault='{mutant.name}')", "-k", mutant.database, "-x"]


def main(chosen: str | None) -> int:
    """Runs the long form; the number of mutants that were not noticed."""
    missed = 0
    for mutant in MUTANTS:
        if chosen is not None and not mutant.name.startswith(chosen):
            continue
        result = run(mutant, *SUITE, "--maxfail=10")
        by = result.details.splitlines()[0] if result.verdict is Verdict.NOTICED else result.details
        sys.stdout.write(f"{result.verdict}: {mutant.name} ({mutant.description})\n    {by}\n")
        missed += result.verdict is not Verdict.NOTICED
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
