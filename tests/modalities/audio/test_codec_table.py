"""The table of codecs that the benchmark prints."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.audio_codecs import codecs, markdown, row, there_and_back
from langevin.modalities.audio.metrics.judge import Judge
from langevin.modalities.audio.sound import Audio


def test_an_exact_codec_loses_nothing_and_half_a_sound_loses_6_db(noise: Any, tone: Any) -> None:
    sounds, judge = [noise(0.4), tone(0.5)], Judge(2, 8000, 0.5).eval()
    labels = judge.predict(sounds).tolist()
    exact = codecs(None, None)["complex STFT"]
    made, encoding, decoding = there_and_back(exact, sounds)
    assert encoding > 0 and decoding > 0 and [len(s) for s in made] == [3200, 4000]
    same = row("exact", sounds, made, labels, judge)
    assert same["digit"].startswith("100.0 %") and same["LSD"] == "0.00" and same["SI-SDR"] == "100.0"
    half = row("half", sounds[:1], [Audio(sounds[0].samples * np.float32(0.5), 8000)], labels[:1], judge)
    assert half["LSD"] == "6.02" and abs(float(half["MR-STFT"]) - 0.5 - np.log(2)) < 1e-3
    wrong = row("real", sounds, sounds, [1 - label for label in labels], judge)
    assert wrong["digit"].startswith("0.0 %") and "LSD" not in wrong
    lines = markdown([wrong, same]).splitlines()
    assert lines[0] == "| codec | digit | LSD | MR-STFT | SI-SDR |" and lines[2].endswith("|  |  |  |")
