"""The roles get the permissions of approvals."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

from apps.accounts.roles import apply_roles


def give_permissions(apps: Any, schema_editor: Any) -> None:
    """Django makes permissions only after the last migration; the groups need them now."""
    using = schema_editor.connection.alias
    app_config = apps.get_app_config("approvals")
    app_config.models_module = True  # else create_permissions skips an app of a migration
    create_permissions(app_config, apps=apps, verbosity=0, using=using)
    app_config.models_module = None
    apply_roles(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_roles"),
        ("approvals", "0001_initial"),
    ]

    operations = [migrations.RunPython(give_permissions, migrations.RunPython.noop)]
