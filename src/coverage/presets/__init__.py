"""Plans, standards, modes and terms as editable TOML data, each value with its source."""
