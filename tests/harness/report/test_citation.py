from __future__ import annotations

from pathlib import Path

import yaml

from harness.report import citation
from harness.report.citation import citations
from harness.report.page import render
from harness.report.result import Result
from leaderboard.record.record import Record
from tasks import catalog
from tests.harness.report.parsed_page import Page
from tests.harness.report.results import few_figures

CFF = Path(__file__).parents[3] / "CITATION.cff"


def test_the_software_and_the_paper_are_cited_as_the_citation_file_says() -> None:
    cff = yaml.safe_load(CFF.read_text(encoding="utf-8"))
    (paper,) = cff["references"]
    assert cff["title"] == citation.TITLE
    assert cff["authors"] == [{"name": citation.AUTHORS}]
    assert paper["title"] == citation.PAPER_TITLE
    assert (paper["authors"][0]["family-names"], paper["authors"][0]["given-names"]) == citation.PAPER_AUTHOR
    assert paper["year"] == citation.PAPER_YEAR
    assert paper["notes"] == f"arXiv:{citation.PAPER_ARXIV}"


def test_a_shipped_task_s_data_and_the_model_s_hub_id_are_cited() -> None:
    task = catalog.load("covid19_ct")
    content = few_figures(classes=[c.name for c in task.classes])
    content["task"] |= {"name": task.id, "version": task.version}
    content["model"] |= {"hub_id": "clinic/model-7b", "revision": "abc123"}
    page = Page(render([Result(Record.model_validate(content))]))
    assert "clinic/model-7b, revision abc123" in page.text
    assert "@misc{yang2020covidct," in page.text
    assert "arXiv:2604.08333" in page.text
    content["task"]["version"] += 1
    other = citations(Record.model_validate(content))
    assert not [one for one in other if "yang2020" in one.text]
    assert any("cite what its author names" in one.text for one in other)
