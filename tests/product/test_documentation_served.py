"""A running service describes itself: the document for tools, the page for people, at both base paths."""

import msgspec
import pytest

from support.product import Marketplace


@pytest.mark.parametrize("base", ["", "/api/v1"])
async def test_the_document_and_the_page_are_served_to_anybody(shop: Marketplace, base: str) -> None:
    async with shop.http.get(f"{shop.live.url}{base}/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        document = msgspec.json.decode(await answer.read())
    assert document["openapi"].startswith("3.1")
    assert document["paths"]["/orders/{order_id}/reserve"]["post"]["security"]
    async with shop.http.get(f"{shop.live.url}{base}/docs") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert answer.headers.getall("Content-Security-Policy")[0].startswith(
            "default-src 'none'; style-src 'sha256-"
        )
        assert len(answer.headers.getall("Content-Security-Policy")) == 1
        assert answer.headers.getall("Cache-Control") == ["no-cache"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = await answer.text()
    assert 'id="operation-orders.reserve"' in page
    assert "<script" not in page
