"""Truth: all tables, the one writer, the readers, the migrations."""
