"""What a plan says of each operation, and in which parts it is run: no server needed."""

from __future__ import annotations

import pytest

from tenants.errors import InvalidRequest
from tenants.rollout.graph import Graph
from tenants.rollout.lint import Level, concerns_of
from tenants.rollout.marks import marks_of
from tenants.rollout.steps import Part

AT_FIRST = frozenset({("shelf", "0001_initial")})
NULLABLE = 'migrations.AddField("book", "pages", models.IntegerField(null=True)),'
NOTHING = "def work(apps, schema_editor): pass"
PYTHON = "migrations.RunPython(work),"


def parts(start=AT_FIRST) -> list[Part]:
    graph = Graph()
    others = {key for key in graph._disk.disk_migrations if key[0] != "shelf"}
    return graph.parts(frozenset(others | set(start)))


def levels(operations: str, *, regions: int = 2) -> set[str]:
    return {concern.level.value for concern in concerns_of(parts(), regions=regions)}


@pytest.mark.parametrize(
    ("operation", "level"),
    [
        (NULLABLE, None),
        ('migrations.AddField("book", "pages", models.IntegerField(default=1)),', None),
        ('migrations.AddField("book", "at", models.DateTimeField(db_default=Now())),', "refuse"),
        ('migrations.AddField("book", "at", models.IntegerField(db_default=3)),', None),
        ('migrations.AddIndex("book", models.Index(fields=["title"], name="i")),', "note"),
        ('migrations.RemoveField("book", "note"),', "contract"),
        ('migrations.RenameField("book", "note", "remark"),', "contract"),
        ('migrations.RenameModel("Book", "Volume"),', "contract"),
        ('migrations.AlterModelTable("book", "volumes"),', "contract"),
        ('migrations.DeleteModel("Book"),', "contract"),
        (
            'migrations.AlterField("book", "note", models.CharField(max_length=100, default="")),',
            "contract",
        ),
        (
            'migrations.AlterField("book", "title", models.CharField(max_length=50)),',
            "contract",
        ),
        ('migrations.AlterField("book", "title", models.CharField(max_length=150)),', None),
        ('migrations.AlterField("book", "title", models.TextField()),', "contract"),
        (
            'migrations.AlterField("book", "title", '
            "models.CharField(max_length=100, unique=True)),",
            "contract",
        ),
        (
            'migrations.AddConstraint("book", models.CheckConstraint('
            'condition=~Q(title=""), name="c")),',
            "contract",
        ),
        ('migrations.AlterUniqueTogether("book", {("title", "note")}),', "contract"),
        ('migrations.RunSQL("ALTER TABLE shelf_book DROP COLUMN note"),', "contract"),
        ('migrations.RunSQL("CREATE INDEX x ON shelf_book (note)"),', None),
    ],
)
def test_what_running_code_could_not_bear_is_named(shelf, operation: str, level: str | None):
    shelf.add(operation)
    assert levels(operation) == ({level} if level else set())


def test_a_default_that_each_region_would_compute_is_fine_where_there_is_one_region(shelf):
    shelf.add('migrations.AddField("book", "at", models.DateTimeField(db_default=Now())),')
    assert Level.REFUSE.value not in levels("", regions=1)


def test_what_is_done_to_a_table_of_the_same_plan_concerns_nobody(shelf):
    shelf.add(
        'migrations.CreateModel("Tmp", [("id", models.BigAutoField(primary_key=True)),'
        ' ("a", models.IntegerField(null=True))]),'
        'migrations.RemoveField("tmp", "a"), migrations.DeleteModel("Tmp"),'
    )
    assert levels("") == set()


def test_structure_of_several_migrations_is_one_part_and_rows_divide_it(shelf):
    shelf.add(NULLABLE)
    shelf.add('migrations.AddField("book", "colour", models.TextField(null=True)),')
    shelf.add(
        NULLABLE.replace("pages", "a") + PYTHON + NULLABLE.replace("pages", "b"), preamble=NOTHING
    )
    found = parts()
    assert [(part.kind.value, len(part.bound)) for part in found] == [
        ("structure", 3),
        ("rows", 1),
        ("structure", 1),
    ]
    assert [len(part.completes) for part in found] == [2, 0, 1]
    marks = [";".join(marks_of(part)) for part in found]
    assert "'0004_next#1'" in marks[0]
    assert "'0004_next#2'" in marks[1]
    assert "'0004_next'" in marks[2]


@pytest.mark.parametrize(("done", "kinds"), [(1, ["rows", "structure"]), (2, ["structure"])])
def test_a_migration_that_is_done_in_part_goes_on_where_it_stopped(shelf, done: int, kinds):
    name = shelf.add(NULLABLE + PYTHON + NULLABLE.replace("pages", "b"), preamble=NOTHING)
    found = parts(AT_FIRST | {("shelf", f"{name}#{done}")})
    assert [part.kind.value for part in found] == kinds
    assert ("pages" in found[0].bound[0].before.models["shelf", "book"].fields) is True


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ('migrations.RunSQL("DO $$ BEGIN END $$"),', "DO block"),
        (
            """migrations.RunSQL("DROP INDEX IF EXISTS x; UPDATE shelf_book SET title = ''"),""",
            "structure and rows",
        ),
        (
            "migrations.SeparateDatabaseAndState(database_operations="
            '[migrations.RunPython(work), migrations.DeleteModel("Book")]),',
            "SeparateDatabaseAndState",
        ),
        ("migrations.RunSQL('SELECT 1', hints={'meridian': 'both'}),", "'structure' or 'rows'"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(shelf, operation: str, said: str):
    shelf.add(operation, preamble=NOTHING)
    with pytest.raises(InvalidRequest, match=said):
        parts()


def test_a_hint_says_what_sql_does(shelf):
    shelf.add("""migrations.RunSQL("DO $$ BEGIN END $$", hints={"meridian": "rows"}),""")
    assert [part.kind.value for part in parts()] == ["rows"]


def test_two_migrations_without_an_order_are_refused(shelf):
    shelf.add(NULLABLE, name="one")
    text = (shelf.migrations / "0002_one.py").read_text()
    (shelf.migrations / "0002_other.py").write_text(text)
    with pytest.raises(InvalidRequest, match="makemigrations --merge"):
        Graph()


def test_a_squashed_migration_counts_as_done_when_all_that_it_replaces_is(shelf):
    shelf.add(NULLABLE)
    shelf.add(NULLABLE.replace("pages", "b"))
    squashed = shelf.add(NULLABLE + NULLABLE.replace("pages", "b"), name="squashed")
    path = shelf.migrations / f"{squashed}.py"
    replaces = '    replaces = [("shelf", "0002_next"), ("shelf", "0003_next")]\n    atomic'
    text = path.read_text().replace('"shelf", "0003_next")]\n', '"shelf", "0001_initial")]\n', 1)
    path.write_text(text.replace("    atomic", replaces, 1))
    both = AT_FIRST | {("shelf", "0002_next"), ("shelf", "0003_next")}
    assert parts(both) == []
    (part,) = parts()
    assert [migration.name for migration in part.completes] == [squashed]
    assert "'0002_next'" in ";".join(marks_of(part))
