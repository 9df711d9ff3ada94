"""House rules that no linter knows, held over the source itself (docs/decisions say why)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "offerhub"
MODULES = sorted(SOURCE.rglob("*.py"))

LINES_PER_MODULE_MAX = 400
LINES_PER_FUNCTION_MAX = 70

# The sandbox plays other people's services and keeps its own clock; the launcher and the CLI wait for processes.
OWN_TIME = ("kernel/chance.py", "kernel/clock.py", "kernel/ids.py", "sandbox/", "runtime/embedded/", "cli/")
CATALOGUES = ("errors.py", "settings/catalogue.py")
"""One declaration below the other; a reader looks one up and does not read them through."""
MONEY = (
    "kernel/money.py",
    "ledger/",
    "events/",
    "balances/",
    "orders/",
    "escrows/",
    "disputes/",
    "withdrawals/",
    "topups/",
)
SLICES = (
    "access",
    "audit",
    "balances",
    "disputes",
    "escrows",
    "findings",
    "orders",
    "topups",
    "users",
    "wallets",
    "withdrawals",
)


def name_of(module: Path) -> str:
    return module.relative_to(SOURCE).as_posix()


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_read_in_a_sitting_and_a_function_on_a_screen(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_PER_MODULE_MAX or name_of(module) in CATALOGUES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LINES_PER_FUNCTION_MAX
        # A slice's table of routes is data: one declaration below the other.
        and node.name != "routes"
    ]
    assert long == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_time_and_chance_come_from_the_kernel(module: Path) -> None:
    """I15: nothing but the kernel's clock reads the machine's; two workers with different clocks behave alike."""
    if name_of(module).startswith(OWN_TIME):
        return
    forbidden = {"datetime.now", "datetime.utcnow", "datetime.today", "time.time", "time.time_ns", "date.today"}
    found = [
        f"line {line}: {call}"
        for line, call in calls(ast.parse(module.read_text(encoding="utf-8")))
        if call in forbidden or call.startswith("random.")
    ]
    assert found == []


@pytest.mark.parametrize("module", [one for one in MODULES if name_of(one).startswith(MONEY)], ids=name_of)
def test_no_float_comes_near_money(module: Path) -> None:
    """I14: amounts are whole units; a float literal, a call of float or a true division would not be."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = [f"line {line}: {call}" for line, call in calls(tree) if call in {"float", "round", "Decimal"}]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and "seconds" not in ast.dump(node):
            found.append(f"line {node.lineno}: {node.value}")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found.append(f"line {node.lineno}: /")
    allowed = {"events/journal.py": 1, "events/feed.py": 1}  # Job.delay_seconds = 0.0; GATHER_SECONDS
    assert len(found) == allowed.get(name_of(module), 0), found


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_nothing_leaves_state_in_a_pooled_connection(module: Path) -> None:
    """Connections are not reset between uses, so only SET LOCAL and locks of the transaction are allowed."""
    if name_of(module) == "runtime/migrations.py":
        return  # has a connection of its own
    sql = " ".join(
        node.value
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert not re.search(
        r"\bSET\s+(SESSION|search_path|statement_timeout|lock_timeout|role)\b|\bLISTEN\s+\w|\bPREPARE\s+\w+\s+AS|"
        r"CREATE\s+TEMP|\bpg_(try_)?advisory_lock(_shared)?\(|set_config\([^)]*false",
        sql,
    )


@pytest.mark.parametrize("name", SLICES)
def test_a_newcomer_who_knows_one_slice_knows_all(name: str) -> None:
    files = {file.name for file in (SOURCE / name).iterdir()}
    assert {"README.md", "__init__.py", "model.py", "store.py", "service.py"} <= files
