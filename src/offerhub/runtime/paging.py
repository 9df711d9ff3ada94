"""Cursor pages over tables whose ids are ordered by time: newest first, the cursor is the last id seen."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from offerhub.errors import invalid_field
from offerhub.kernel.pages import LIMIT_DEFAULT, LIMIT_MAX, Page, page
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import Body


class PageQuery(Body, kw_only=True):
    """`limit` (1 to 100, default 20) and `cursor` (the last id of the page before)."""

    limit: Annotated[
        int | None,
        Meta(
            description="How long the page is; above 100 counts as 100.",
            examples=[20],
            extra_json_schema={"minimum": 1},
        ),
    ] = None
    cursor: Annotated[str | None, Meta(description="The `nextCursor` of the page before: the last id on it.")] = None


async def fetch(
    tx: Tx, marketplace_id: str, select: str, table: str, filters: Mapping[str, Any], query: PageQuery
) -> Page:
    """One page of the marketplace's rows of `select … FROM table`; a filter of None is left out.

    A filter's name is a column, or a condition with `?` for the value. Table, columns and the select are constants
    of the caller, never input. Raises ValidationFailed for a limit below 1, or a cursor that names no row of the
    table.
    """
    limit = LIMIT_DEFAULT if query.limit is None else min(query.limit, LIMIT_MAX)
    if limit < 1:
        raise invalid_field("limit", "limit must be at least 1")
    clauses = [f"{table}.marketplace_id = $1"]
    args: list[Any] = [marketplace_id]
    for column, value in filters.items():
        if value is None:
            continue
        args.append(value)
        clauses.append(column.replace("?", f"${len(args)}") if "?" in column else f"{column} = ${len(args)}")
    if query.cursor is not None:
        args.append(query.cursor)
        clauses.append(f"{table}.id < ${len(args)}")
        known = f"SELECT FROM {table} WHERE id = $1 AND marketplace_id = $2"
        if await tx.row(known, query.cursor, marketplace_id) is None:
            raise invalid_field("cursor", "cursor must be the nextCursor of an earlier page")
    args.append(limit + 1)
    where = " AND ".join(clauses)
    return page(await tx.rows(f"{select} WHERE {where} ORDER BY {table}.id DESC LIMIT ${len(args)}", *args), limit)
