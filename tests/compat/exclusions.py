"""What differs inside a tenant, and why that is meant. docs/how-to/try-your-apps-tests.md tells it.

An exclusion that is no longer needed fails the run.
"""

from __future__ import annotations

from tests.compat.judge import Exclusion

EXCLUSIONS: tuple[Exclusion, ...] = (
    Exclusion(
        "guardian",
        "*::GetObjectsForGroup::test_any_of_multiple_perms_to_check",
        "It makes content types up and expects a later one to have a greater id. Their ids are "
        "made from their names, so that they are the same in every cell and region.",
    ),
    Exclusion(
        "simple_history",
        "*::RelatedNameTest::test_deletion",
        "It expects a row's key to be 2. Keys are drawn in steps, a region each its own, so that "
        "two regions never draw the same one.",
    ),
    Exclusion(
        "simple_history",
        "*::TestMigrate::test_migrate_command",
        "It runs `migrate` on its database. A cell changes in every replica at once, by "
        "`cell migrate`; the command refuses and says so.",
    ),
)
