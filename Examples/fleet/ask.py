#!/usr/bin/env python3
"""Asks the tables that `heapsum table` has written, by DuckDB, Spark or ClickHouse.

usage: ask.py [--json] duckdb|spark|clickhouse LAKE [QUERY ...]

LAKE is the directory (for Spark also a URL, as s3a://bucket/lake) with facts and stacks. DuckDB reads CSV and Parquet,
the others Parquet. QUERY is a file beside this one, without .sql; without any, all of them are asked. Spark runs in
this process (local mode), or where spark-submit says; ClickHouse runs in this process (Python's package chdb).
"""
import argparse
import glob
import json
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
VIEW = "stacks"  # a view for the queries, not a question


def text(name):
    with open(f"{FOLDER}/{name}.sql", encoding="utf-8") as file:
        return file.read().rstrip().removesuffix(";")


def duckdb(lake):
    """A function that runs SQL: (columns, rows)."""
    import duckdb as engine

    base = engine.connect()
    base.execute("set timezone = 'UTC'")

    def read(table):
        if glob.glob(f"{lake}/{table}/**/*.parquet", recursive=True):
            # A host may be called 17: no guessing of types from the directories' names.
            return f"read_parquet('{lake}/{table}/**/*.parquet', hive_partitioning = {table == 'facts'}, " \
                "hive_types_autocast = false, union_by_name = true)"
        return f"read_csv('{lake}/{table}/*.csv*', header = true, union_by_name = true, types = {TYPES[table]})"

    base.execute(f"create view facts as select * from {read('facts')}")
    base.execute(f"create view stacks_of_runs as select * from {read('stacks')}")

    def run(sql):
        answer = base.execute(sql)
        return [column[0] for column in answer.description or []], answer.fetchall()

    return run


# CSV has no types, and an engine that guesses takes a build-id of digits for a number.
TYPES = {
    "facts": {name: "varchar" for name in ("host", "boot", "program", "build_id", "image", "kind", "state", "stack_key",
                                           "verdict", "tag")},
    "stacks": {name: "varchar" for name in ("stack_key", "function", "module", "calls", "frames")},
}


def spark(lake):
    """The same by Spark."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.appName("heapsum")
        .config("spark.sql.session.timeZone", "UTC").config("spark.ui.showConsoleProgress", "false")
        # As for DuckDB: a host's name is text.
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        .getOrCreate())
    session.read.option("mergeSchema", "true").parquet(f"{lake}/facts").createOrReplaceTempView("facts")
    session.read.option("mergeSchema", "true").parquet(f"{lake}/stacks").createOrReplaceTempView("stacks_of_runs")

    def run(sql):
        answer = session.sql(sql)
        return answer.columns, [tuple(row) for row in answer.collect()]

    return run


def clickhouse(lake):
    """The same by ClickHouse."""
    from chdb.session import Session

    session = Session()
    # Not by its own reading of the directories' names, which takes a host called 17 for a number.
    host = "nullIf(decodeURLComponent(extract(_path, '/host=([^/]*)/')), '__HIVE_DEFAULT_PARTITION__')"
    lake = os.path.abspath(lake)
    session.query(f"create view facts as select *, {host} as host from file('{lake}/facts/**/*.parquet') "
                  "settings use_hive_partitioning = 0")
    session.query(f"create view stacks_of_runs as select * from file('{lake}/stacks/*.parquet')")

    def run(sql):
        # It has no temporary views; the session's database is one.
        lines = str(session.query(sql.replace("temporary view", "view"), "JSONCompactEachRowWithNames")).splitlines()
        rows = [json.loads(line) for line in lines]
        return (rows[0], [tuple(row) for row in rows[1:]]) if rows else ([], [])

    return run


def table(columns, rows):
    """Lines with the columns below each other, numbers on the right."""
    cells = [columns] + [["" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
                         for row in rows]
    isNumber = [all(isinstance(row[place], int) for row in rows) for place in range(len(columns))]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    for row in cells:
        yield "  ".join(cell.rjust(width) if right else cell.ljust(width)
                        for cell, width, right in zip(row, widths, isNumber)).rstrip()


ENGINES = {"duckdb": duckdb, "spark": spark, "clickhouse": clickhouse}
PACKAGES = {"duckdb": "duckdb", "spark": "pyspark", "clickhouse": "chdb"}


def opened(engine, lake):
    """The engine with the tables. Ends with the reason and the way out where either is missing."""
    isDirectory = "://" not in lake
    if isDirectory and not all(os.path.isdir(f"{lake}/{name}") for name in ("facts", "stacks")):
        sys.exit(f"ask.py: {lake}: no facts and stacks in it. `heapsum table -o {lake} IMAGES...` writes them.")
    form = "Parquet or CSV" if engine == "duckdb" else "Parquet"
    endings = ("parquet", "csv*") if engine == "duckdb" else ("parquet",)
    if isDirectory and not any(glob.glob(f"{lake}/facts/**/*.{ending}", recursive=True) for ending in endings):
        sys.exit(f"ask.py: {lake}: {engine} reads {form}, and no such file is in facts. "
                 "`heapsum table --help` says how to choose the form.")
    try:
        return ENGINES[engine](lake)
    except ImportError as error:
        sys.exit(f"ask.py: {error}. {engine} is Python's package {PACKAGES[engine]}: pip install {PACKAGES[engine]}")


def main():
    parser = argparse.ArgumentParser(description="Asks the tables that heapsum table has written.")
    parser.add_argument("--json", action="store_true", help="print one object: rows by query")
    parser.add_argument("engine", choices=list(ENGINES))
    parser.add_argument("lake")
    parser.add_argument("queries", nargs="*", metavar="QUERY")
    options = parser.parse_args()
    known = sorted(name.removesuffix(".sql") for name in os.listdir(FOLDER) if name.endswith(".sql"))
    known.remove(VIEW)
    wrong = [name for name in options.queries if name not in known]
    if wrong:
        sys.exit(f"ask.py: {wrong[0]}: there are {', '.join(known)}")
    run = opened(options.engine, options.lake)
    run(text(VIEW))
    answers = {name: run(text(name)) for name in options.queries or known}
    if options.json:
        print(json.dumps({name: rows for name, (_, rows) in answers.items()}))
        return
    for place, (name, (columns, rows)) in enumerate(answers.items()):
        print("\n" * (place > 0) + f"-- {name}")
        print("\n".join(table(columns, rows)))


main()
