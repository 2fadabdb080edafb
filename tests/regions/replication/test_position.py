"""Who is trusted after a start of the server: whoever is no older than anybody remembers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regions.replication.position import PATIENCE_SECONDS, Sight, Trust, judge

SEQ = st.integers(0, 1000)
ANSWERS = st.dictionaries(st.sampled_from(["eu-west", "us-east", "asia"]), st.none() | SEQ)


@given(own=SEQ, noted=st.none() | SEQ, known=ANSWERS, waited=st.floats(0, 100))
def test_whoever_is_behind_what_anybody_remembers_is_repaired_and_nobody_else(
    own: int, noted: int | None, known: dict[str, int | None], waited: float
) -> None:
    trust, reason = judge(Sight("eu-central", own, noted, known, waited))
    remembered = [seq for seq in (noted, *known.values()) if seq is not None]
    assert (trust is Trust.REPAIR) == any(seq > own for seq in remembered)
    if trust is Trust.SERVE and known and noted is None:
        assert any(seq is not None for seq in known.values())
    assert reason.endswith(".")


def test_without_a_note_and_without_any_peer_nobody_serves() -> None:
    silent = Sight("eu-central", 7, None, {"eu-west": None}, 10 * PATIENCE_SECONDS)
    assert judge(silent)[0] is Trust.WAIT
    alone = Sight("eu-central", 7, None, {}, 0.0)
    assert judge(alone)[0] is Trust.SERVE


def test_a_note_lets_it_serve_when_peers_are_cut_off() -> None:
    cut_off = Sight("eu-central", 7, 7, {"eu-west": None, "us-east": 6}, 0.0)
    assert judge(cut_off)[0] is Trust.SERVE


def test_one_peers_word_counts_once_the_others_were_asked_for_long() -> None:
    sight = Sight("eu-central", 7, None, {"eu-west": None, "us-east": 6}, PATIENCE_SECONDS - 1)
    assert judge(sight)[0] is Trust.WAIT
    later = Sight("eu-central", 7, None, {"eu-west": None, "us-east": 6}, PATIENCE_SECONDS)
    assert judge(later)[0] is Trust.SERVE
