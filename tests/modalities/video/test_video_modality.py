"""Clips as states, spacetime patches, times of frames, given frames and the verbs, with an untrained network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin.assembly import build_model
from langevin.cli.main import main
from langevin.core.rng import Stream
from langevin.modalities.samples import read_manifest
from langevin.modalities.video import givens
from langevin.modalities.video.clip import Track, Video
from langevin.modalities.video.files import read
from langevin.modalities.video.modality import VideoModality, make
from langevin.modalities.video.tokens import SpacetimePatches


def noise(frames: int, height: int = 16, width: int = 16, seed: int = 0, fps: float = 8.0) -> Video:
    values = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return Video(values, fps)


def model(patch: tuple[int, int, int] = (1, 8, 8), **objective: Any) -> Any:
    torch.manual_seed(0)
    made = build_model(
        {
            "name": "tiny",
            "modality": {
                "name": "video", "codec": {"name": "pixels", "size": 16}, "patch": list(patch), "frames": 6,
                "conditions": {"prompt": {"name": "text", "width": 16, "depth": 1, "vector_width": 24, "heads": 2}},
            },
            "network": {"name": "dit", "width": 24, "depth": 2, "heads": 2, "axes": 3, "modulation": "shared"},
            "parametrisation": "x",
            "objective": {"target": "velocity", **objective},
        }
    )  # fmt: skip
    for parameter in made.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


class TestPatches:
    @pytest.mark.parametrize("patch", [(1, 8, 8), (2, 4, 8), (3, 2, 4)])
    def test_patches_and_back(self, patch: tuple[int, int, int]) -> None:
        tokens = SpacetimePatches(3, patch)
        state = torch.randn(2, 6, 3, 8, 16)
        found = tokens.tokens(state)
        pt, ph, pw = patch
        assert found.values[""].shape == (2, 6 // pt * (8 // ph) * (16 // pw), 3 * pt * ph * pw)
        assert torch.equal(tokens.untokens(found.values, state), state)

    def test_positions_are_in_pixels_and_seconds(self) -> None:
        tokens = SpacetimePatches(3, (2, 4, 8), pixels=8, seconds=0.5, scale=(0.1, 3.0))
        at = tokens.positions(2, 3, 2).reshape(2, 3, 2, 3)
        assert torch.allclose(at[1, 2, 1], torch.tensor([2 * 32 * 0.1, 64 * 0.1, 2 * 0.5 * 3.0]))
        finer = SpacetimePatches(3, (2, 4, 8), pixels=8, seconds=0.25, scale=(0.1, 3.0))
        assert torch.allclose(finer.positions(3, 1, 1)[2], tokens.positions(2, 1, 1)[1])

    def test_a_token_has_the_latest_time_of_its_frames_and_is_real_where_one_is(self) -> None:
        tokens, state = SpacetimePatches(3, (2, 4, 4)), torch.randn(1, 4, 3, 8, 8)
        times = tokens.token_times(torch.tensor([[0.0, 0.3, 0.9, 0.2]]), state)
        assert torch.equal(times, torch.tensor([[0.3, 0.9]]))
        mask = tokens.tokens(state, torch.tensor([[True, True, True, False]])).mask
        assert mask is not None and bool(mask.all())
        mask = tokens.tokens(state, torch.tensor([[True, True, False, False]])).mask
        assert mask is not None and mask.tolist() == [[True] * 4 + [False] * 4]

    def test_sizes_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="frames divisible by 2"):
            SpacetimePatches(3, (2, 4, 4)).tokens(torch.randn(1, 3, 3, 8, 8))
        with pytest.raises(ValueError, match="cannot be cut"):
            make({"codec": {"name": "pixels", "size": 20}, "patch": [1, 8, 8]})
        with pytest.raises(ValueError, match="places"):
            make({"places": 1})


class TestStates:
    def test_frames_there_and_back(self) -> None:
        modality, clip = make({"codec": {"name": "pixels", "size": 16}}), noise(5)
        state, mask = modality.encode([clip])
        assert isinstance(state, torch.Tensor) and state.shape == (1, 5, 3, 16, 16) and mask is None
        (back,) = modality.decode(state)
        assert np.array_equal(back.frames, clip.frames) and back.fps == 8

    def test_clips_of_several_lengths_have_a_mask(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}, "patch": [2, 8, 8]})
        clips = [noise(5), noise(2, seed=1)]
        state, mask = modality.encode(clips)
        assert isinstance(state, torch.Tensor) and state.shape[1] == 6 and mask is not None
        assert mask.tolist() == [[True] * 6, [True, True, False, False, False, False]]
        assert [len(clip) for clip in modality.decode(state, mask)] == [6, 2]
        assert torch.equal(state[0, 5], state[0, 4])  # the last frame goes on

    def test_other_sizes_and_rates_are_brought_to_the_model(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}})
        (back,) = modality.decode(modality.encode([noise(8, 32, 64, fps=16.0)])[0])
        assert back.size == (16, 16) and len(back) == 4
        still = Image.new("RGB", (16, 16), (200, 10, 30))
        (back,) = modality.decode(modality.encode([still])[0])
        assert len(back) == modality.frames and (back.frames == (200, 10, 30)).all()

    def test_what_is_no_clip(self) -> None:
        with pytest.raises(ValueError, match="item 0 is no clip"):
            make({}).encode([np.zeros((4, 16, 16, 3), np.uint8)])

    def test_a_state_that_is_not_finite_fails_alone(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}})
        state = torch.zeros(2, 3, 3, 16, 16)
        state[1, 0, 0, 0, 0] = torch.nan
        good, bad = modality.decode(state)
        assert len(good) == 3 and "NaN" in bad.reason


class TestGivenFrames:
    def test_strategies_leave_something_to_draw(self) -> None:
        chosen = givens.given_frames(Stream.of(0, 2000), 6)
        assert chosen.any(1).float().mean() > 0.95 and not bool(chosen.all(1).any())
        first, last = chosen[:, 0] & ~chosen[:, -1], chosen[:, -1] & ~chosen[:, 0]
        both = chosen[:, 0] & chosen[:, -1]
        assert first.float().mean() > 0.5 and last.float().mean() > 0.15 and both.float().mean() > 0.15
        for frames in (1, 2, 3):
            assert not bool(givens.given_frames(Stream.of(0, 200), frames).all(1).any())

    def test_the_loss_does_not_see_given_frames_and_padding(self) -> None:
        net = model(given=1.0, forcing=0.5)
        each, _ = net.loss([noise(6), noise(3, seed=1)], {"prompt": ["a", "b"]}, Stream.of(0, 2))
        assert each.shape == (2,) and bool(torch.isfinite(each).all())

    def test_rows_of_a_batch_are_those_alone(self) -> None:
        net, clips = model(given=0.5, forcing=0.5), [noise(6, seed=k) for k in range(3)]
        rng, texts = Stream.of(4, 3), ["a", "b", "c"]
        both, _ = net.loss(clips, {"prompt": texts}, rng)
        for k in range(3):
            alone, _ = net.loss([clips[k]], {"prompt": [texts[k]]}, rng.rows(torch.tensor([k])))
            assert torch.allclose(alone[0], both[k], rtol=1e-4)


def test_causal_attention_hides_later_frames_from_earlier_ones_packed_or_not() -> None:
    net = model(given=0.3, forcing=0.3)
    causal = make({"codec": {"name": "pixels", "size": 16}, "patch": [1, 8, 8], "frames": 6, "causal": True})
    state = torch.randn(1, 6, 3, 16, 16)
    later = state.clone()
    later[:, 4:] = torch.randn(1, 2, 3, 16, 16)
    before = net.network(state, 0.5)
    assert not torch.allclose(net.network(later, 0.5)[:, :4], before[:, :4])
    net.network.tokeniser = causal
    with torch.no_grad():
        seen = net.network(state, 0.5)
        assert torch.equal(net.network(later, 0.5)[:, :4], seen[:, :4])
        other = torch.randn(2, 3, 3, 8, 24)
        packed = net.network.packed([(state, 0.5, {}, None, None), (other, 0.2, {}, None, None)])
        assert torch.allclose(packed[0], seen, atol=1e-5)
        assert torch.allclose(packed[1], net.network(other, 0.2), atol=1e-5)


class TestVerbs:
    def test_samples_do_not_depend_on_the_batch(self) -> None:
        net = model()
        whole = net.sample(3, steps=3, prompt="a", seed=5)
        parts = net.sample(3, steps=3, prompt="a", seed=5, batch_size=1)
        assert torch.allclose(whole.state, parts.state, atol=1e-5)
        assert [len(clip) for clip in whole] == [6, 6, 6] and whole[0].fps == 8

    def test_lengths_and_sizes(self) -> None:
        net = model(patch=(2, 8, 8))
        (clip,) = net.sample(1, steps=2, frames=5, height=24, width=8)
        assert clip.frames.shape == (5, 24, 8, 3)
        assert len(net.sample(1, steps=2, seconds=1.0)[0]) == 8
        with pytest.raises(ValueError, match="same thing twice"):
            net.sample(1, steps=2, seconds=1.0, frames=4)
        with pytest.raises(ValueError, match="multiple of 8"):
            net.sample(1, steps=2, height=20)
        with pytest.raises(ValueError, match="frames must be"):
            net.sample(1, steps=2, frames=0)

    @pytest.mark.parametrize("given", [0.0, 0.5])
    def test_kept_frames_are_the_users_own(self, given: float) -> None:
        net, clip = model(given=given), noise(6)
        sound = Video(clip.frames, 8.0, Track(np.zeros((1, 800), np.float32), 1000))
        (made,) = net.sample(1, steps=3, like=sound, keep=lv.keep.frames(0, -1), prompt="a")
        assert np.array_equal(made.frames[[0, -1]], clip.frames[[0, -1]])
        assert (made.frames[1:-1] != clip.frames[1:-1]).mean() > 0.5 and made.audio is not None
        (made,) = net.sample(1, steps=3, like=sound, keep=lv.keep.seconds(0, 0.25))
        assert np.array_equal(made.frames[:2], clip.frames[:2])
        (made,) = net.sample(1, steps=3, like=sound, keep=lv.keep.box(0, 0, 8, 16))
        assert np.array_equal(made.frames[:, :8], clip.frames[:, :8])
        assert (made.frames[:, 8:] != clip.frames[:, 8:]).mean() > 0.5

    def test_frames_are_counted_on_the_users_clip_and_not_on_what_fills_it(self) -> None:
        net = model(patch=(2, 8, 8), given=0.5)
        state, _ = net.modality.encode([noise(5)])
        chosen = net.modality.chosen(lv.keep.frames(-2), state, [noise(5)])
        assert chosen.tolist() == [[False, False, False, True, False, False]]
        last = net.modality.chosen(lv.keep.frames(-1), state, [noise(5)])
        assert last.tolist() == [[False] * 4 + [True, True]]  # what fills it is the last frame
        clips = [noise(3), noise(5, seed=1)]
        state, _ = net.modality.encode(clips)
        both = net.modality.chosen(lv.keep.frames(-1), state, clips)
        assert both[0, :3].tolist() == [False, False, True] and both[1, :5].tolist() == [False] * 4 + [True]
        with pytest.raises(ValueError, match="frame|element"):
            net.sample(2, steps=1, like=clips, keep=lv.keep.frames(4))
        grid = torch.zeros(5, 16, 16, dtype=torch.bool)
        grid[:, :8] = True
        (made,) = net.sample(1, steps=2, like=clips[1], keep=lv.keep.mask(grid))
        assert len(made) == 5 and np.array_equal(made.frames[:, :8], clips[1].frames[:, :8])

    def test_given_frames_are_shown_clean_and_parts_of_frames_are_not(self) -> None:
        modality: VideoModality = model(given=0.5).modality
        state, _ = modality.encode([noise(6)])
        assert modality.shows(modality.chosen(lv.keep.frames(0), state))
        assert not modality.shows(modality.chosen(lv.keep.box(0, 0, 8, 16), state))

    def test_a_picture_is_animated(self) -> None:
        picture = Image.fromarray(noise(1).frames[0])
        (made,) = model(given=0.5).sample(1, steps=2, like=picture, keep=lv.keep.frames(0))
        assert len(made) == 6 and np.array_equal(made.frames[0], np.asarray(picture))

    def test_from_a_clip_at_a_strength(self) -> None:
        net, clip = model(), noise(6)
        (little,) = net.sample(1, steps=4, start=clip, strength=0.05)
        assert little.frames.shape == clip.frames.shape

    def test_windows_and_extension(self) -> None:
        net, clip = model(given=0.5), noise(5)
        assert len(net.sample(1, steps=2, frames=15, window=6, overlap=2)[0]) == 15
        (longer,) = net.extend(clip, frames=9, steps=2, prompt="a")
        assert len(longer) == 14 and np.array_equal(longer.frames[:5], clip.frames)
        stream = net.stream(frames=30, window=6, overlap=3, steps=2, seed=3)
        assert sum(len(piece) for (piece,) in stream) == 30
        assert np.array_equal(
            stream.collect()[0].frames[:12],
            net.stream(frames=12, window=6, overlap=3, steps=2, seed=3).collect()[0].frames,
        )
        with pytest.raises(ValueError, match="overlap must be"):
            net.sample(1, frames=15, window=6, overlap=6)

    def test_sound_goes_with_a_stream_into_its_file(self, tmp_path: Any) -> None:
        clip = Video(noise(6).frames, 8.0, Track(np.sin(np.arange(6000) / 3)[None] * 0.3, 8000))
        (path,) = model(given=0.5).stream(after=clip, frames=4, steps=1).save(tmp_path / "long.mp4")
        heard = read(path).audio
        assert heard is not None and heard.seconds == pytest.approx(10 / 8, abs=0.05)
        assert np.abs(heard.samples[:, :5500]).mean() > 0.05 > np.abs(heard.samples[:, 6500:]).mean()

    def test_clips_that_are_continued_together_see_as_much(self) -> None:
        net = model(given=0.5)
        with pytest.raises(ValueError, match="one after another"):
            net.extend([noise(6), noise(1, seed=1)], frames=3, steps=1)
        together = net.extend([noise(6), noise(7, seed=1)], frames=3, steps=1, seed=2)
        assert (
            np.abs(
                together[0].frames.astype(int) - net.extend(noise(6), frames=3, steps=1, seed=2)[0].frames
            ).max()
            <= 1
        )
        (longer,) = net.extend(Image.new("RGB", (16, 16), (9, 9, 9)), frames=4, steps=1)
        assert len(longer) == 5

    def test_a_clip_of_one_frame_is_a_picture(self) -> None:
        net = model()
        one = Video(noise(1).frames, 1.0)
        assert len(net.modality.shown(one)) == 1 and len(net.sample(1, start=one, steps=2)[0]) == 1

    def test_sizes_that_are_no_whole_numbers(self) -> None:
        for size in ("8", 8.0, 0, 8 * 10**6, True):
            with pytest.raises(ValueError, match="height must be a multiple of 8 pixels"):
                model().sample(1, steps=1, height=size)
        with pytest.raises(ValueError, match="window must be at least 2"):
            model().sample(1, steps=1, frames=4, window=1)

    def test_rolling_noise(self) -> None:
        net, clip = model(given=0.3, forcing=0.3), noise(5)
        how = {"window": 6, "overlap": 3, "rolling": True, "steps": 4, "seed": 3, "prompt": "a"}
        made = net.sample(1, frames=14, **how)
        assert len(made[0]) == 14 and made.run.evaluations == 4 + 13 * 2
        shorter = net.sample(1, frames=9, **how)
        assert np.array_equal(made[0].frames[:9], shorter[0].frames)  # what comes later changes nothing
        pair = net.sample(2, frames=9, **how)
        assert torch.allclose(pair.state[:1], shorter.state, atol=1e-4)
        (longer,) = net.extend(clip, frames=7, **how)
        assert len(longer) == 12 and np.array_equal(longer.frames[:5], clip.frames)
        with pytest.raises(ValueError, match=r"objective\.forcing"):
            model(given=0.3).sample(1, frames=14, **how)
        with pytest.raises(ValueError, match="rolling is that of windows"):
            net.sample(1, steps=2, rolling=True)

    def test_rolling_noise_records_what_it_does(self) -> None:
        net = model(given=0.3, forcing=0.3)
        how: dict[str, Any] = {"frames": 8, "window": 6, "overlap": 3, "rolling": True, "steps": 3}
        seen: list[int] = []
        made = net.sample(3, batch_size=2, watch=lambda step: seen.append(len(step.x)), **how)
        assert made.run.sampler == "ddim" and "windows" not in made.run.options
        assert made.run.options["rolling"] and made.run.network_rows == 3 * made.run.evaluations
        assert seen == [2, 1] * made.run.evaluations
        assert torch.allclose(made.state, net.sample(3, **how).state, atol=1e-4)
        noisy = net.sample(1, sampler="ddpm", **how)
        assert noisy.run.sampler == "ddpm" and not torch.allclose(noisy.state, made.state[:1], atol=1e-2)
        with pytest.raises(ValueError, match="cannot follow 'heun'"):
            net.sample(1, sampler="heun", **how)

    @pytest.mark.parametrize("rolling", [False, True])
    def test_what_follows_a_clip_has_its_size(self, rolling: bool) -> None:
        net = model(given=0.3, forcing=0.3)
        how = {"frames": 3, "window": 6, "overlap": 3, "steps": 2, "rolling": rolling}
        with pytest.raises(ValueError, match="leave out height"):
            net.extend(noise(5), height=64, **how)
        net.modality.native = True
        (longer,) = net.extend(noise(5, 24, 32), **how)
        assert longer.frames.shape == (8, 24, 32, 3)
        with pytest.raises(ValueError, match="16 x 16, 24 x 32 pixels"):
            net.extend([noise(5, 24, 32), noise(5)], **how)

    def test_loops_see_every_cut(self) -> None:
        net = model()
        (loop,) = net.sample(1, steps=4, loop=True)
        assert len(loop) == 6
        with pytest.raises(ValueError, match="drawn at once"):
            net.sample(1, steps=2, loop=True, window=4)

    @pytest.mark.parametrize("name", ["q.mpg", "q.m4v", "q.avi"])
    def test_a_stream_to_what_is_not_written_is_refused_before_it_is_drawn(
        self, tmp_path: Any, name: str
    ) -> None:
        seen: list[Any] = []
        stream = model().stream(frames=9, window=6, steps=1, watch=seen.append, progress=False)
        with pytest.raises(ValueError, match=r"unknown suffix of video files .*\.webm"):
            stream.save(tmp_path / name)
        assert not seen and not list(tmp_path.iterdir())
        assert stream.save(tmp_path / "q.png") == [tmp_path / "q.png"] and len(read(tmp_path / "q.png")) == 9
        (tmp_path / name).mkdir()
        paths = [stream.save(tmp_path / folder, suffix=".npz")[0] for folder in (name, "v1.5")]
        assert [len(read(path)) for path in paths] == [9, 9] and {path.suffix for path in paths} == {".npz"}

    def test_the_format_is_that_which_is_asked_for(self, tmp_path: Any, capsys: Any) -> None:
        model().save(tmp_path / "net")
        ask = ["sample", str(tmp_path / "net"), "-n", "2", "--steps", "1", "--out", str(tmp_path / "o")]
        assert main([*ask, "--format", "apng"]) == 0
        clips = [read(tmp_path / "o" / entry["file"]) for entry in read_manifest(tmp_path / "o")["samples"]]
        own = lv.load(tmp_path / "net").sample(2, steps=1, seed=0)
        assert all(np.array_equal(a.frames, b.frames) for a, b in zip(clips, own, strict=True))
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / "o"), "--csv"]) == 0
        assert main(ask) == 2 and "holds 2 samples" in capsys.readouterr().err
        assert main([*ask, "--format", "avi"]) == 2 and "unknown format 'avi'" in capsys.readouterr().err
        windows = [*ask[:-1], str(tmp_path / "long"), "--frames", "9", "--window", "6", "--format", "npz"]
        assert main(windows) == 0 and len(list((tmp_path / "long").glob("*.npz"))) == 2

    def test_files_and_records(self, tmp_path: Any) -> None:
        samples = model().sample(2, steps=2, prompt=["a cat", "a dog"], seed=[3, 4], first=0)
        paths = samples.save(tmp_path / "out")
        assert [p.suffix for p in paths] == [".mp4", ".mp4"]
        page = samples.report(tmp_path / "out" / "report.html")
        assert "<video" in page.read_text()
