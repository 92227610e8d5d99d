"""The groups of the migration hold what the table of roles says."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.accounts.models import User
from apps.accounts.roles import ROLES, UnknownRole


def get_permissions(group: Group) -> set[str]:
    found = group.permissions.select_related("content_type")
    return {f"{each.content_type.app_label}.{each.codename}" for each in found}


@pytest.mark.parametrize("role", ROLES)
def test_a_group_holds_exactly_what_the_table_says(db: None, role: str) -> None:
    assert get_permissions(Group.objects.get(name=role)) == ROLES[role]


def test_no_role_edits_what_has_happened() -> None:
    nouns = ("event", "attempt", "eventbody", "llmcall", "auditentry", "inboxitem")
    written = {f"{verb}_{noun}" for noun in nouns for verb in ("add", "change", "delete")}
    assert not {name.partition(".")[2] for name in ROLES["admin"]} & written


def test_no_role_reads_a_secret_back() -> None:
    assert all("sources.reveal_secret" not in permissions for permissions in ROLES.values())


def test_support_and_viewer_see_no_secret(bob: User, vera: User) -> None:
    for user in (bob, vera):
        assert not user.has_perm("sources.view_secret")
        assert not user.has_perm("accounts.view_apitoken")


def test_a_new_installation_has_no_user_and_so_no_password(db: None) -> None:
    assert not User.objects.exists()


def test_a_role_replaces_the_former_one_and_opens_the_site(charlie: User) -> None:
    charlie.groups.add(Group.objects.create(name="night shift"))
    charlie.give_role("admin")
    charlie.give_role("viewer")
    charlie.refresh_from_db()
    assert charlie.is_staff
    assert charlie.get_role() == "viewer"
    assert set(charlie.groups.values_list("name", flat=True)) == {"night shift", "viewer"}


def test_an_unknown_role_is_refused_by_name(charlie: User) -> None:
    with pytest.raises(UnknownRole, match="“root”: choose one of admin, support, viewer"):
        charlie.give_role("root")


@pytest.mark.django_db(transaction=True)
def test_the_migration_goes_back_and_forth() -> None:
    def migrate(name: str) -> None:
        MigrationExecutor(connection).migrate([("accounts", name)])

    migrate("0001_initial")
    assert not Group.objects.exists()
    Permission.objects.all().delete()  # as on a database that was never migrated
    # All apps: some have migrations that stand on those of this one.
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    for role, permissions in ROLES.items():
        assert get_permissions(Group.objects.get(name=role)) == permissions
