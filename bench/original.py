"""The SQL of the PL/Python original, to be measured beside ours: its cache table, view and eviction, in a schema of their own.

Taken out of the PyPI sdist, which is fetched by version and checked by hash; nothing of it is kept here.
"""
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tarfile

VERSION = "2025.11.25"
SHA256 = "5ba41d1a6abe618ee1375c57e0a232c7d870ddfe6c6190d0f39ecccc8b13c2c7"
SCRIPT = f"steadytext-{VERSION}/pg_steadytext/sql/pg_steadytext--{VERSION}.sql"
SCHEMA = "original"


def script() -> str:
    cache = pathlib.Path(os.environ.get("STEADYTEXT_CACHE") or pathlib.Path.home() / ".cache" / "pg_steadytext")
    archive = cache / f"steadytext-{VERSION}.tar.gz"
    if not archive.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
                        "-d", cache, f"steadytext=={VERSION}"], check=True)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise RuntimeError(f"{archive} is not the version that was pinned")
    with tarfile.open(archive) as files:
        return files.extractfile(SCRIPT).read().decode()


def statements() -> str:
    """What makes its cache, in schema SCHEMA."""
    text = script()
    wanted = [
        r"CREATE TABLE steadytext_cache \(.*?\n\);",
        r"CREATE INDEX [^;]*? ON steadytext_cache\([^;]*;",
        r"CREATE TABLE steadytext_config \(.*?\n\);",
        r"CREATE TABLE steadytext_audit_log \(.*?\n\);",
        r"CREATE OR REPLACE VIEW steadytext_cache_with_frecency AS.*?;",
        r"CREATE OR REPLACE FUNCTION steadytext_cache_evict_by_age\(.*?\n\$c\$;",
    ]
    found = [piece for pattern in wanted for piece in re.findall(pattern, text, re.DOTALL)]
    if len(found) < len(wanted):
        raise RuntimeError("the original's script is not as expected")
    return f"CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}, public;\n" + "\n".join(found).replace("@extschema@", SCHEMA)
