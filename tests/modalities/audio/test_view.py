from __future__ import annotations

import base64
import io
import re
import subprocess

import numpy as np
import pytest
import soundfile
from PIL import Image

from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.view import _frequencies, _levels, _times, _to_mel, picture, to_html
from langevin.modalities.base import Failure
from langevin.report import Figure, Gallery, Page, Section, external_resources
from tests.browser import CHROMIUM, FLAGS, colours, needs_browser, screenshot

RATE = 8000


def tone(frequency: float, seconds: float = 1.0, rate: int = RATE) -> Audio:
    return Audio(0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate), rate)


@pytest.mark.parametrize("frequency", [300, 1000, 3000])
@pytest.mark.parametrize("size", [(64, 40), (500, 300)])
def test_a_tone_stands_at_its_height_on_the_mel_scale(frequency, size):
    levels = _levels(tone(frequency), *size)
    assert levels.shape == size[::-1]
    wanted = size[1] * (1 - _to_mel(frequency) / _to_mel(RATE / 2))
    assert levels[:, 5:-5].mean(1).argmax() == pytest.approx(wanted, abs=1.5)
    assert levels.max() == 0
    assert levels.min() == -80


def test_an_event_stands_at_its_time():
    x = np.zeros(RATE)
    x[6000:6100] = 0.5
    assert _levels(Audio(x, RATE), 200, 50).mean(0).argmax() == pytest.approx(151, abs=3)


@pytest.mark.parametrize("seconds", [0.001, 0.05, 700.0])
def test_sounds_of_any_length_have_a_spectrogram(seconds):
    rate = 200 if seconds > 100 else RATE
    assert _levels(tone(50, seconds, rate), 120, 40).shape == (40, 120)


def test_silence_is_dark_and_white_noise_has_no_gaps():
    assert (_levels(Audio(np.zeros(100), RATE), 30, 20) == -80).all()
    noise = Audio(0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    assert np.quantile(_levels(noise, 300, 300), 0.001) > -50


@pytest.mark.parametrize("size", [24, 40, 128, 192, (300, 160), (640, 400)])
@pytest.mark.parametrize("background", ["white", None])
def test_pictures_have_the_size_that_is_asked_for(size, background):
    shown = picture(tone(440), size, background=background)
    assert shown.size == ((size, size * 3 // 4) if isinstance(size, int) else size)
    assert colours(shown.convert("RGB")) > 20


def test_what_is_no_sound_is_a_box_with_a_reason():
    assert picture(Failure("silent")).size == (192, 144)
    assert to_html(Failure("a < b")) == '<span class="failure">a &lt; b</span>'
    with pytest.raises(ValueError, match="at least 16"):
        picture(tone(440), (8, 100))


def test_marks_are_round_and_few():
    assert _times(0.45, 5) == [0, 0.1, 0.2, 0.3, 0.4] or _times(0.45, 5) == [0, 0.2, 0.4]
    assert _times(200, 5) == [0, 50, 100, 150, 200] or _times(200, 5) == [0, 100, 200]
    assert _frequencies(44_100, 8)[0] == 0
    assert len(_frequencies(44_100, 4)) <= 5
    assert _frequencies(200, 5) == [0]


def test_the_player_holds_the_sound_and_asks_for_nothing():
    rng = np.random.default_rng(0)
    sound = Audio(0.3 * rng.standard_normal((2, 3000)).clip(-3, 3), RATE)
    html = to_html(sound, alt='rain "loud"')
    assert external_resources(html) == []
    data = re.search(r"data:audio/wav;base64,([^\"]+)", html)
    assert data is not None
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data[1])), always_2d=True)
    assert rate == RATE
    assert samples == pytest.approx(sound.samples.T, abs=1 / 32768)
    assert "rain &quot;loud&quot;" in html
    assert " data-loop>" not in html
    assert " data-loop>" in to_html(sound, loop=True)


def test_a_sound_beyond_full_scale_is_played_whole_and_more_quietly():
    html = to_html(Audio(4 * tone(440).samples, RATE))
    data = re.search(r"data:audio/wav;base64,([^\"]+)", html)
    assert data is not None
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(data[1])))
    assert samples == pytest.approx(tone(440).samples[0] / 0.3, abs=2e-3)
    assert "1.6 dB too loud for a file" in html


def page(**options) -> Page:
    cards = [Figure(to_html(tone(200 * k, 0.5), **options), f"{200 * k} Hz") for k in range(1, 7)]
    return Page("Tones", (Section("Samples", blocks=(Gallery(cards),)),))


def test_a_page_keeps_one_script():
    assert page().html().count("customElements.define('sound-player'") == 1


@pytest.mark.browser
@needs_browser
def test_players_are_drawn_in_light_and_dark(tmp_path):
    path = page().write(tmp_path / "page.html")
    light, dark = (screenshot(path, tmp_path, (900, 700), dark) for dark in (False, True))
    assert colours(light) > 500
    assert np.asarray(light).mean() > 2 * np.asarray(dark).mean()


@pytest.mark.browser
@needs_browser
def test_a_click_plays_and_another_player_takes_over(tmp_path):
    """Players answer at once; whether time passes is up to the browser, which has none here."""
    probe = """<script>addEventListener('load', () => {
      const [a, b] = document.querySelectorAll('sound-player'), box = a.face_.getBoundingClientRect(), out = [];
      const say = () => out.push([a.sounding, b.sounding, a.at.toFixed(2), b.at.toFixed(2)].join(' '));
      a.face_.setPointerCapture = () => {};
      const click = share => { for (const kind of ['pointerdown', 'pointerup'])
        a.face_.dispatchEvent(new PointerEvent(kind, { clientX: box.left + share * box.width, clientY: box.top + 3 })); };
      say(); click(.5); say(); b.play_.click(); say(); b.dispatchEvent(new KeyboardEvent('keydown', { key: ' ' })); say();
      b.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' })); say();
      document.body.dataset.told = out.join('|'); });</script>"""
    path = tmp_path / "page.html"
    path.write_text(page().html().replace("</body>", probe + "</body>"))
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout.decode()
    told = re.search(r'data-told="([^"]*)"', dom)
    assert told is not None
    idle, clicked, other, paused, moved = told[1].split("|")
    assert idle == "false false 0.00 0.00"
    assert clicked.startswith("true false 0.25")
    assert other.startswith("false true 0.25")
    assert paused.startswith("false false 0.25")
    assert moved == "false false 0.25 0.03" or moved == "false false 0.25 0.02"


def test_the_picture_of_a_page_is_an_image():
    data = re.search(r"data:image/webp;base64,([^\"]+)", to_html(tone(440)))
    assert data is not None
    assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (520, 150)
