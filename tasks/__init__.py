"""What is asked: one YAML per task, and the schema that says what such a YAML may hold."""
