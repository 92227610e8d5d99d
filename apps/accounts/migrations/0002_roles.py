"""The groups admin, support and viewer."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

from apps.accounts.roles import ROLES, apply_roles


def make_roles(apps: Any, schema_editor: Any) -> None:
    """Django makes permissions only after the last migration; the groups need them now."""
    using = schema_editor.connection.alias
    for app_config in apps.get_app_configs():
        app_config.models_module = True  # else create_permissions skips an app of a migration
        create_permissions(app_config, apps=apps, verbosity=0, using=using)
        app_config.models_module = None
    apply_roles(apps, using)


def remove_roles(apps: Any, schema_editor: Any) -> None:
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    groups.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("audit", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("dashboard", "0001_initial"),
        ("destinations", "0001_initial"),
        ("events", "0001_initial"),
        ("llm", "0001_initial"),
        ("pipelines", "0001_initial"),
        ("sources", "0001_initial"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
