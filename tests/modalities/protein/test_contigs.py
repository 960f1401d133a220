"""The contig language: what is read, what is refused and where, and lengths that are drawn."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.core.rng import Stream
from langevin.modalities.protein.combinations import Combinations
from langevin.modalities.protein.contigs import (
    LONGEST,
    Built,
    Chain,
    Contig,
    ContigError,
    Motif,
    Site,
    positions,
    residues,
)

codes = st.sampled_from(["", "", "", "A", "B"])
sites = st.builds(Site, st.integers(-200, 3000), codes)
names = st.one_of(
    st.from_regex(r"[A-Za-z]{1,3}", fullmatch=True), st.from_regex(r"[A-Z0-9_-]{0,3}", fullmatch=True)
)


def motif(name: str, first: Site, width: int, code: str) -> Motif:
    last = Site(first.number + width, code if width else max(first.insertion, code))
    return Motif(name, first, last)


motifs = st.builds(motif, names, sites, st.integers(0, 60), codes)
built = st.builds(lambda a, w: Built(a, a + w), st.integers(0, 200), st.integers(0, 60))
chains = st.builds(
    Chain,
    st.lists(st.one_of(motifs, built), min_size=1, max_size=6)
    .filter(lambda s: any(isinstance(one, Motif) or one.least for one in s))
    .map(tuple),
)
contigs = st.builds(Contig, st.lists(chains, min_size=1, max_size=4).map(tuple))


@settings(deadline=None, max_examples=60)
@given(contigs)
def test_what_is_written_is_read_the_same(contig: Contig) -> None:
    assert Contig.of(str(contig)) == contig
    assert Contig.of(f"[{contig}/0]") == contig
    assert Contig.of([f" {chain} " for chain in contig.chains]) == contig
    assert str(Contig.of(str(contig))) == str(contig)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="A1b-/0 5,[]'\":–x", max_size=30))
def test_any_text_is_read_or_refused_at_a_place(text: str) -> None:
    for read in (Contig.of, residues, positions):
        try:
            found = read(text)
        except ContigError as error:
            assert error.span is None or 0 <= error.span.start <= len(text)
            assert str(error).startswith(error.problem) and error.problem
        else:
            if isinstance(found, Contig):
                assert Contig.of(str(found)) == found


README = [
    ("[150-150]", [["150-150"]]),
    ("5-15/A10-25/30-40", [["5-15", "A10-25", "30-40"]]),
    ("[5-15/A10-25/30-40/0 B1-100]", [["5-15", "A10-25", "30-40"], ["B1-100"]]),
    ("[B1-100/0 100-100]", [["B1-100"], ["100-100"]]),
    ("[12-18 A3-117/0]", [["12-18"], ["A3-117"]]),
    ('["172-172/0 34-34"]', [["172-172"], ["34-34"]]),
    ("['100']", [["100-100"]]),
    ("[A25-109/0 0-70/B17-29/0-70]", [["A25-109"], ["0-70", "B17-29", "0-70"]]),
    ("[10-100/A1083-1083/10-100]", [["10-100", "A1083-1083", "10-100"]]),
    ("A100", [["A100-100"]]),
    ("5/A100/5", [["5-5", "A100-100", "5-5"]]),
    ("['A1-10/0', '50']", [["A1-10"], ["50-50"]]),
    ("[A1-10/0,50]", [["A1-10"], ["50-50"]]),
    ("a5-6/AB7", [["a5-6", "AB7-7"]]),
    ("A-5-10", [["A-5-10"]]),
    ("A-5--2/A-7", [["A-5--2", "A-7--7"]]),
    ("H52A/H52-52B", [["H52A-52A", "H52-52B"]]),
    ("A10-A25", [["A10-25"]]),
    ("1:10-25/A2:3/:4-5", [["1:10-25", "A2:3-3", ":4-5"]]),
    ("A:10-25", [["A10-25"]]),
    ("  5-15 /0\tA1\n", None),
    ("5-15\tA1\n", [["5-15"], ["A1-1"]]),
]


@pytest.mark.parametrize(("text", "segments"), README)
def test_contigs_are_read(text: str, segments: list[list[str]] | None) -> None:
    if segments is None:
        with pytest.raises(ContigError, match="between '/' and '/'|segment is a length"):
            Contig.of(text)
        return
    assert [list(map(str, chain.segments)) for chain in Contig.of(text).chains] == segments


def test_numbers_and_lists_are_contigs() -> None:
    assert Contig.of(150) == Contig.of("150") == Contig.of([150])
    assert Contig.of(["A1-10/0 5", "7"]) == Contig.of("A1-10/0 5/0 7")
    for wrong in (None, 1.5, True, [None], {"a": 1}.items()):
        with pytest.raises(TypeError, match="a contig is a text or a list of texts"):
            Contig.of(wrong)  # type: ignore[arg-type]


REFUSED = [
    ("", 0, "a chain is missing here"),
    ("[]", 1, "a chain is missing here"),
    ("A", 1, "residue number is missing after 'A'; write A10-25, or A100"),
    ("A10-", 4, "residue number is missing after '-'"),
    ("5-", 2, "a number is missing after '-'"),
    ("30-40/0B1-100", 5, "chain break is '/0 ' with a blank"),
    ("A10-25/0/B1-100", 6, "chain break is '/0 ' with a blank"),
    ("5-15/", 4, "a segment is missing after '/'"),
    ("5-15/ A10", 4, "a segment is missing after '/'"),
    ("5-15//A10", 5, "nothing between '/' and '/'"),
    ("A25-10", 0, "ends before it begins; write A10-25"),
    ("A52B-52A", 0, "ends before it begins"),
    ("40-30", 0, "write 30-40"),
    ("0", 0, "could have no residue"),
    ("5/0 0-9/0-3", 4, "could have no residue"),
    ("5–15", 1, "a dash; write the hyphen"),
    ("5/A10–25", 5, "a dash; write the hyphen"),
    ("5-15/10B", 7, "a motif begins with its chain, as B10"),
    ("[5-15", 5, "']' is missing"),
    ("5-15]", 4, "']' without '['"),
    ("5-15] x", 4, "']' without '['"),
    ("[5-15] x", 7, "unexpected 'x'"),
    ("A10-25, 30", 6, "write '/' within a chain and '/0 ' between chains"),
    ("A10-B25", 0, "a range lies in one chain"),
    ("A1.5", 2, "unexpected '.'"),
    ("x y", 1, "residue number is missing after 'x'"),
    ("-5", 0, "unexpected '-'"),
    ("'5-15", 5, "not closed"),
    ("9" * 12, 0, "12 digits"),
    (f"1-{LONGEST + 1}", 0, "too many"),
    ("A1-99999", 0, "at most"),
    ("５", 0, "a segment is a length"),
]


@pytest.mark.parametrize(("text", "place", "says"), REFUSED)
def test_mistakes_are_shown_at_their_place(text: str, place: int, says: str) -> None:
    with pytest.raises(ContigError) as caught:
        Contig.of(text)
    error = caught.value
    assert says in error.problem
    assert error.span is not None and error.span.start == place
    line, marks = str(error).splitlines()[-2:]
    assert line == f"  {text}" and marks.index("^") == 2 + place


def test_long_and_odd_texts_are_shown_around_the_place() -> None:
    text = "/".join(["A1-9"] * 50) + "/\x07" + "/5" * 100
    with pytest.raises(ContigError) as caught:
        Contig.of(text)
    line, marks = str(caught.value).splitlines()[-2:]
    assert len(line) < 100 and "\x07" not in line and line[marks.index("^")] == " "
    with pytest.raises(ContigError, match="at most 20000"):
        Contig.of("1/" * 20_000)
    with pytest.raises(ContigError, match="101 lengths are to be drawn"):
        Contig.of("/".join(["1-2"] * 101))


def test_lists_of_residues_and_places() -> None:
    expected = (Motif("A", Site(1), Site(1)), Motif("A", Site(30), Site(40)))
    for text in ("A1/A30-40", "[A1/A30-40]", "A1,A30-40", "['A1','A30-40']", "A1 A30-40"):
        assert residues(text) == expected
    assert residues(["A1", expected[1]]) == expected
    assert residues(None) == residues("") == residues("[]") == ()
    assert positions("[172-177,200]") == positions(["172-177", 200]) == ((172, 177), (200, 200))
    assert positions(5) == ((5, 5),) and positions(((5, 7),)) == ((5, 7),) and positions(None) == ()
    for text, place, says in (
        ("A30;A3", 3, "unexpected ';'"),
        ("30", 0, "chain is missing"),
        ("[A1", 3, "']'"),
    ):
        with pytest.raises(ContigError, match=says) as caught:
            residues(text)
        assert caught.value.span is not None and caught.value.span.start == place
    for text in ("-3", "5-2", "A3", "3-x"):
        with pytest.raises(ContigError):
            positions(text)


# lengths


def test_length_counts_chains_in_which_something_is_built() -> None:
    contig = Contig.of("A25-109/0 0-70/B17-29/0-70", "70-120")
    assert contig.designed() == (70, 120) and contig.range() == (155, 205)
    assert Contig.of("5-15/A10-25/30-40").range() == (51, 71)
    assert Contig.of("5-15/A10-25/30-40", 55).range() == (55, 55)
    assert Contig.of("5-15/A10-25/30-40", (40, 60)).range() == (51, 60)
    assert Contig.of("H50-53/10").range(counts=[5]) == (15, 15)
    for length in ("50", "72-80"):
        with pytest.raises(
            ContigError, match="51 to 71 residues, 16 of them kept.*give a length from 51 to 71"
        ):
            Contig.of("5-15/A10-25/30-40/0 B1-100", length).range()
    with pytest.raises(ContigError, match="builds nothing"):
        Contig.of("A1-5", 5).range()
    for wrong in ("x", "5-4", "0", "5-", ""):
        with pytest.raises(ContigError, match="length"):
            Contig.of("5", wrong)


@settings(deadline=None, max_examples=40)
@given(contigs, st.integers(0, 2**32), st.data())
def test_drawn_contigs_keep_to_their_ranges(contig: Contig, seed: int, data: st.DataObject) -> None:
    if any(not chain.kept for chain in contig.chains) and data.draw(st.booleans()):
        least, most = contig.designed()
        low = data.draw(st.integers(max(1, least - 5), most))
        high = data.draw(st.integers(max(low, least), most + 9))
        contig = Contig(contig.chains, (low, high))
    drawn = contig.draw(Stream.of(seed, 3))
    assert [str(one) for one in drawn] == [str(one) for one in contig.draw(Stream.of(seed, 3))]
    for one in drawn:
        assert one.fixed and len(one.segments) == len(contig.segments)
        for asked, got in zip(contig.segments, one.segments):
            if isinstance(asked, Built):
                assert isinstance(got, Built) and asked.least <= got.least <= asked.most
            else:
                assert got == asked
        total = sum(a for chain, row in zip(one.chains, one.sizes()) if not chain.kept for a, _ in row)
        assert contig.length is None or contig.length[0] <= total <= contig.length[1]
        assert one.range()[0] == one.range()[1]


@pytest.mark.parametrize("total", [None, (6, 6), (0, 5), (7, 9), (10, 20)])
def test_every_combination_is_as_likely_as_any_other(total: tuple[int, int] | None) -> None:
    ranges = [(0, 3), (2, 2), (1, 3), (0, 2)]
    allowed = {
        values
        for values in product(*(range(a, b + 1) for a, b in ranges))
        if total is None or total[0] <= sum(values) <= total[1]
    }
    combinations = Combinations(ranges, total)
    grid = [(k + 0.5) / 16 for k in range(16)]
    seen = Counter(tuple(combinations.pick(u)) for u in product(grid, repeat=3))
    assert set(seen) == allowed
    share = 1 / len(allowed)
    for count in seen.values():
        assert count / 16**3 == pytest.approx(share, rel=0.35)


def test_a_tight_length_of_many_ranges_is_drawn_exactly() -> None:
    contig = Contig.of("/".join(["1-20"] * 100), "1999-2000")
    for one in contig.draw(Stream.of(0, 2)):
        assert 1999 <= one.range()[0] <= 2000
    rows = contig.draw(Stream.of(0, 4))
    assert [str(one) for one in Contig.draw(contig, Stream.of(0, [2]))] == [str(rows[2])]


# symmetry


def test_the_contig_of_a_subunit() -> None:
    assert str(Contig.of("480-480").subunit(6)) == "80-80"
    assert str(Contig.of("100-125/20").subunit(4)) == "30-36"
    assert str(Contig.of("100-200", "117-123").subunit(4)) == "30-30"
    four = "50/A2-4/50/0 50/A7-9/50/0 50/A12-14/50/0 50/A17-19/50/0"
    assert str(Contig.of(four).subunit(4)) == "50-50/A2-4/50-50"
    with pytest.raises(ContigError, match="481 cannot be shared by 6 chains; write 480 or 486"):
        Contig.of("481").subunit(6)
    with pytest.raises(ContigError, match="cannot be shared by 6 chains; write 6"):
        Contig.of("3").subunit(6)
    with pytest.raises(ContigError, match="4 chains must be alike"):
        Contig.of(four.replace("A12-14", "A12-15")).subunit(4)
    for text in ("50/A2-4/50", "50/0 50/0 50"):
        with pytest.raises(ContigError, match="symmetry of 4 chains needs"):
            Contig.of(text).subunit(4)
