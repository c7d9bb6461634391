"""A DuckDB file for tests, with the calls of the PostgreSQL server beside it."""

from pathlib import Path

import duckdb
import pyarrow as pa


class Duck:
    """A DuckDB file, with the calls of the test's PostgreSQL server."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.duckdb"
        duckdb.connect(self.path).close()

    def location(self) -> str:
        return f"duckdb://{self.path}"

    def run(self, *statements: str) -> None:
        with duckdb.connect(self.path) as connection:
            for each in statements:
                connection.execute(each)

    def ask(self, query: str) -> list[tuple]:
        with duckdb.connect(self.path) as connection:
            return connection.execute(query).fetchall()

    def put(self, name: str, table: pa.Table) -> None:
        with duckdb.connect(self.path) as connection:
            connection.register("given", table)
            connection.execute(f'create table "{name}" as select * from given')
