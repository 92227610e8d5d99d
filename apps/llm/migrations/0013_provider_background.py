from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0012_background")]

    operations = [
        migrations.AddField(
            "provider",
            "in_background",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text="Each call is handed over and asked for by its id (POST /v1/responses, as OpenAI has it): a crash in between pays nothing twice and loses no answer. The provider then keeps prompt and answer for its own time. One without this refuses every call.",
                verbose_name="background responses",
            ),
        ),
    ]
