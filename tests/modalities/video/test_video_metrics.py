from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from langevin import optional
from langevin.modalities.base import Failure
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics import (
    Pixels,
    RandomConv3d,
    VideoMAE,
    background,
    border_colour,
    border_difference,
    changes,
    compare_pairs,
    constancy,
    delta_e,
    describe,
    drift,
    evaluate,
    export_vbench,
    flicker,
    histogram,
    intersection,
    joins,
    lab,
    motion,
    psnr,
    seam,
    smoothness,
    ssim,
    static_pixels,
    steps,
    warp_error,
    white_noise,
)
from langevin.modalities.video.modality import make

DATA = Path(os.environ.get("LANGEVIN_DATA", Path(__file__).parents[4] / "shared" / "data")) / "video"
FPS = 8.0


def film(
    frames: int = 8, side: int = 32, seed: int = 0, speed: int = 1, ground: tuple = (150, 200, 240)
) -> Video:
    """A patterned square that goes to the right, round and round, before a flat ground."""
    rng = np.random.default_rng(seed)
    figure = rng.integers(0, 256, (8, 8, 3), np.uint8)
    out = np.empty((frames, side, side, 3), np.uint8)
    out[:] = np.array(ground, np.uint8)
    for t in range(frames):
        left = 2 + speed * t
        out[t, 10:18, left : left + 8] = figure
    return Video(out, FPS)


def noisy(clip: Video, size: float, seed: int = 0) -> Video:
    rng = np.random.default_rng(seed)
    found = clip.frames + rng.normal(0, size, clip.frames.shape)
    return Video(found.round().clip(0, 255).astype(np.uint8), clip.fps)


def flat(*levels: int) -> Video:
    """A frame of each grey level."""
    return Video(np.stack([np.full((12, 12, 3), v, np.uint8) for v in levels]), FPS)


# --- alone ------------------------------------------------------------------------------------------------------


def test_motion_is_the_mean_change_in_grey_levels():
    assert motion(flat(10, 13, 11)) == 2.5
    assert steps(flat(10, 13, 11)).tolist() == [3, 2]
    assert motion(flat(10)) == 0
    assert motion(flat(255, 0)) == 255  # not modulo 256
    with pytest.raises(ValueError, match="mask must select pixels"):
        steps(flat(1, 2), np.zeros((12, 12), bool))


def test_flicker_is_change_of_static_pixels_only():
    clips = [film(seed=k) for k in range(4)]
    mask = static_pixels(clips)
    assert mask.mean() == pytest.approx(1 - 8 * 15 / 1024)  # the lane of the square moves
    for clip in clips:
        assert flicker(clip, mask) == flicker(clip) == 0 < motion(clip)
    expected = 3 * 2 / math.sqrt(math.pi)  # E|a − b| of two Gaussians of deviation 3
    assert flicker(noisy(clips[0], 3), mask) == pytest.approx(expected, rel=0.02)
    assert flicker(noisy(clips[0], 3)) == pytest.approx(expected, rel=0.02)
    assert flicker(Video(clips[0].frames[:1], FPS)) == 0
    with pytest.raises(ValueError, match="of one size"):
        static_pixels([clips[0], film(side=24)])


def test_the_background_is_away_from_the_figure():
    clip = film()
    ground = background(clip)
    assert not ground[8:20, :19].any()  # two pixels around everywhere the square has been
    assert ground[:8].all() and ground[20:].all() and ground[:, 19:].all()
    noise = white_noise(1, np.random.default_rng(0), [clip])[0]
    assert not background(noise).any() and math.isnan(flicker(noise))


def test_smoothness_of_a_drift_a_swing_and_noise():
    assert smoothness(flat(10, 20, 30, 40)) == 1
    assert smoothness(flat(10, 20, 10, 20)) == 0
    assert math.isnan(smoothness(flat(5, 5, 5))) and math.isnan(smoothness(flat(1, 2)))
    still = Video(np.full((8, 32, 32, 3), 128, np.uint8), FPS)
    assert smoothness(noisy(still, 20)) == pytest.approx(1 - math.sqrt(6) / (2 * math.sqrt(2)), abs=0.01)


def test_constancy_and_drift_tell_a_subject_that_changes():
    same, other = film(seed=1), film(seed=2)
    swapped = Video(np.concatenate([same.frames[:4], other.frames[4:]]), FPS)
    assert constancy(same) == pytest.approx(1)
    assert constancy(same, other) == pytest.approx(constancy(swapped)) and constancy(swapped) < 0.6
    assert constancy(swapped, whole=True) > 0.9  # the ground is most of a frame
    clips = [film(seed=k) for k in range(8)]
    changed = [Video(np.concatenate([a.frames[:4], b.frames[4:]]), FPS) for a, b in zip(clips, clips[1:])]

    def colours(shown):
        return np.stack([histogram(c.frames[0], (150, 200, 240)) for c in shown])

    assert drift(clips, colours).value < 0.1 < 0.7 < drift(changed, colours).value < 1.3
    assert drift([Video(c.frames[:1], FPS) for c in clips]).value == 0
    with pytest.raises(ValueError, match="the same frame"):
        drift([same, same])


# --- warp -------------------------------------------------------------------------------------------------------


def test_what_moves_leaves_no_residual_and_what_appears_does():
    clip = film(speed=3)
    found = warp_error(clip)
    assert found.residual < 0.15 * motion(clip)
    assert 0 < found.masked < 0.25  # the ground that the square covers and uncovers
    still = warp_error(Video(clip.frames[[0, 0]], FPS))
    assert still == (0, 0)
    swapped = Video(np.concatenate([film(seed=k).frames[:1] for k in range(4)]), FPS)
    unlike = warp_error(swapped)
    assert unlike.residual > found.residual + 0.5 and unlike.masked > 2 * found.masked
    too_far = film(frames=4, speed=6)
    assert warp_error(too_far, radius=6).residual < 0.6 * warp_error(too_far, radius=2).residual


def test_noise_on_a_flat_ground_moves_nothing():
    still = Video(np.full((4, 32, 32, 3), 128, np.uint8), FPS)
    found = warp_error(noisy(still, 2))
    assert found.masked < 0.1
    assert found.residual == pytest.approx(motion(noisy(still, 2)), rel=0.02)


def test_large_frames_are_reduced_and_wrong_arguments_refused():
    clip = film(speed=2)
    large = clip.resized(128, 128)
    assert warp_error(large, side=32).residual == pytest.approx(warp_error(clip).residual, abs=0.5)
    with pytest.raises(ValueError, match="two frames"):
        warp_error(Video(clip.frames[:1], FPS))
    with pytest.raises(ValueError, match="odd number"):
        warp_error(clip, block=4)


# --- colours ----------------------------------------------------------------------------------------------------


def test_cielab_of_known_colours():
    # published values of sRGB primaries under D65 (rounded to 0.1)
    for rgb, wanted in (
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ):
        assert lab(rgb) == pytest.approx(wanted, abs=0.05)
    assert delta_e((255, 255, 255), (0, 0, 0)) == pytest.approx(100)
    assert delta_e(np.zeros((4, 5, 3)), (0, 0, 0)).shape == (4, 5)


def test_the_border_is_that_of_most_of_its_pixels():
    clip = film(ground=(100, 160, 80))
    frames = clip.frames.copy()
    frames[:, -1, 8:24] = 0  # feet on the lower edge
    assert border_colour(Video(frames, FPS)).tolist() == [100, 160, 80]
    assert border_difference(clip, (100, 160, 80)) == 0
    assert border_difference(clip, (104, 164, 84)) < 5 < border_difference(clip, (150, 200, 240))


def test_histograms_are_soft_and_leave_the_ground_out():
    white, black = np.full((4, 4, 3), 255, np.uint8), np.zeros((4, 4, 3), np.uint8)
    assert histogram(white).sum() == pytest.approx(1)
    assert intersection(histogram(white), histogram(black)) == 0
    near = intersection(
        histogram(np.full((4, 4, 3), 100, np.uint8)), histogram(np.full((4, 4, 3), 102, np.uint8))
    )
    assert 0.8 < near < 1
    frame = film().frames[0]
    figure = histogram(frame[10:18, 2:10])
    assert intersection(histogram(frame, (150, 200, 240)), figure) > 0.9
    assert histogram(white, (255, 255, 255)).sum() == pytest.approx(1)  # nothing but ground


# --- pairs ------------------------------------------------------------------------------------------------------


def test_psnr_and_ssim_agree_with_torchmetrics():
    metrics = optional.torchmetrics().functional.image
    x = film()
    for size in (2, 20):
        y = noisy(x, size)
        a, b = (torch.from_numpy(np.array(v.frames)).permute(0, 3, 1, 2).double() for v in (y, x))
        assert psnr(x, y) == pytest.approx(float(metrics.peak_signal_noise_ratio(a, b, data_range=255.0)))
        _, every = metrics.structural_similarity_index_measure(a, b, data_range=255.0, return_full_image=True)
        inside = every[..., 5:-5, 5:-5]  # theirs repeats the border by reflection and counts it
        assert ssim(x, y) == pytest.approx(float(inside.mean()), abs=1e-6)


def test_psnr_in_closed_form_and_what_cannot_be_compared():
    assert psnr(flat(100, 100), flat(110, 110)) == pytest.approx(20 * math.log10(25.5))
    assert psnr(flat(1), flat(1)) == math.inf and ssim(film(), film()) == pytest.approx(1)
    with pytest.raises(ValueError, match="same frames and size"):
        psnr(flat(1), flat(1, 2))
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(film().resized(8, 8), film().resized(8, 8))


def test_pairs_are_compared_over_common_frames_at_one_size():
    clips = [film(seed=k) for k in range(3)]
    table = compare_pairs(clips, [noisy(c, 5) for c in clips])
    assert table.row(measure="PSNR (dB)")["value"].value == pytest.approx(20 * math.log10(255 / 5), abs=0.6)
    assert table.row(measure="border ΔE")["value"].value < 1
    lone = compare_pairs(clips[:1], [Video(clips[0].resized(64, 64).frames[:3], FPS)])
    assert lone.row(measure="SSIM")["value"] > 0.9
    with pytest.raises(ValueError, match="as many clips"):
        compare_pairs(clips, [])


# --- joins ------------------------------------------------------------------------------------------------------


def swing(frames: int = 16, phase: float = 0.0) -> Video:
    """Grey levels that go up and down once in a clip."""
    t = 2 * np.pi * (np.arange(frames) + phase) / frames
    return flat(*(128 + 100 * np.sin(t)).round().astype(int))


def test_the_seam_of_a_loop_is_one_of_its_steps():
    whole = swing()
    assert changes(whole)[0] == steps(whole)[0]  # 15 → 0 is as 0 → 1
    assert seam(whole).moving and not seam(swing(phase=4)).moving  # a quarter on, it turns at the seam
    cut = Video(whole.frames[:13], FPS)
    assert not seam(cut).smooth and seam(cut).percentile == 100
    still = Video(np.concatenate([whole.frames[4:8], whole.frames[4:5]]), FPS)
    assert seam(still).smooth and not seam(still).seamless
    with pytest.raises(ValueError, match="two changes"):
        seam(flat(1, 2))


def test_a_join_is_measured_against_steps_elsewhere_or_of_real_clips():
    whole, other = swing(), swing(phase=8)
    spliced = Video(np.concatenate([whole.frames[:5], other.frames[5:]]), FPS)
    (found,) = joins(spliced, [5])
    assert not found.smooth and found.percentile == 100 and found.high <= 39
    (real,) = joins(spliced, [5], usual=[1000.0, 2000.0])
    assert real.smooth and real.percentile == 0 and not real.moving
    with pytest.raises(ValueError, match="1 … 15"):
        joins(spliced, [0])


# --- sets -------------------------------------------------------------------------------------------------------


def test_random_features_are_fixed_and_take_any_length_and_size():
    clips = [film(seed=k) for k in range(3)]
    extract = RandomConv3d()
    found = extract(clips)
    assert found.shape == (3, 224) and np.array_equal(found, RandomConv3d()(clips))
    assert not np.allclose(found, RandomConv3d(seed=1)(clips))
    assert extract([film(frames=24, side=48), film(frames=1)]).shape == (2, 224)
    turned = Video(clips[0].frames[::-1], FPS)
    assert not np.allclose(extract([turned])[0], found[0], atol=1e-4)  # time has a direction
    assert Pixels(2, 4)(clips).shape == (3, 96)
    with pytest.raises(ValueError, match="at least one"):
        extract([])


def test_evaluation_finds_copies_noise_and_stillness():
    train, held, samples = (
        [film(seed=k, speed=1 + k % 2) for k in range(a, b)] for a, b in ((0, 30), (100, 124), (200, 220))
    )
    labels, real_labels = ([str(k % 2) for k in range(n)] for n in (20, 24))
    table = evaluate(
        [*samples, Failure("no")],
        train,
        held,
        features={"random": RandomConv3d()},
        labels=[*labels, "0"],
        real_labels=real_labels,
        judge=lambda clips: ["0"] * len(clips),
        metrics=("frechet", "copied", "neighbourhood", "diversity"),
    )
    own, copies, noise = (
        table.row(row=row, features="random") for row in ("samples", "copies of training", "noise")
    )
    assert own["failed"] == 1 and own["flicker"].value == 0 and own["motion"].value > 0
    assert own["copied"].value < 0.3 and copies["copied"].value == 1
    assert noise["frechet"] > 5 * own["frechet"] and noise["coverage"] == 0
    assert table.row(row="samples", features="judge")["accuracy"].n == 21
    frozen = [Video(np.repeat(c.frames[:1], 8, 0), FPS) for c in samples[:12]]
    still = evaluate(frozen, train[:12], metrics=("copied",))
    assert {row["features"] for row in still.rows} == {"random features (3-D convolutions)", "pixels"}
    assert still.row(row="samples")["motion"].value == 0 < still.row(row="real against real")["motion"].value
    with pytest.raises(ValueError, match="nothing else"):
        evaluate(samples, [*train, "a"])


def test_few_clips_are_measured_without_distances_between_distributions():
    made, real = ([film(seed=k) for k in range(a, b)] for a, b in ((0, 3), (10, 15)))
    table = evaluate(
        [*made, Failure("no")], real, labels=list("0101"), judge=lambda clips: ["0"] * len(clips)
    )
    own, theirs = table.row(row="samples", n=3), table.row(row="real")
    assert own["failed"] == 1 and own["motion"].value > 0 and theirs["n"] == 5 and theirs["motion"].value > 0
    assert "frechet" not in table.columns and "need 12 clips on each side" in table.caption
    assert table.row(row="samples", features="judge")["accuracy"].value == 0.5
    nothing = evaluate([Failure("no")], real).rows[0]
    assert (nothing["n"], nothing["failed"]) == (0, 1) and "motion" not in nothing
    assert evaluate(made, [film(seed=k) for k in range(20)]).columns == evaluate(made, real).columns


def test_a_modality_compares_few_clips_with_as_many_pair_by_pair():
    video, clips = make({}), [film(seed=k) for k in range(4)]
    assert video.evaluate(clips, clips).row(measure="SSIM")["value"].value == 1
    assert video.evaluate(clips[:3], clips).row(row="real")["n"] == 4
    assert video.evaluate([*clips, Failure("no")], clips).row(row="samples")["failed"] == 1


def test_description_needs_no_reference():
    clips = [film(seed=k) for k in range(4)]
    table = describe([*clips, clips[0], Video(clips[0].frames[[0, 0]], FPS), Failure("no")])
    value = {row["measure"]: row["value"] for row in table.rows}
    assert value["failed"] == 1 and value["readable"].value == pytest.approx(6 / 7)
    assert value["frozen"].value == pytest.approx(1 / 6) and value["twins"].value == pytest.approx(2 / 6)
    assert value["flicker of the background (grey levels)"].value == 0
    assert "8 frames of 32 x 32 at 8 fps (5)" in table.caption
    assert evaluate(clips).columns == table.columns
    assert describe([]).rows == [{"measure": "failed", "value": 0, "n": 0}]
    assert describe(clips[:1]).row(measure="seconds")["value"] == 1


def test_vbench_gets_clips_named_by_prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(Video, "save", lambda self, path: path.write_bytes(b"clip"))
    prompts = ["a cat", "a cat", "left/right: " + "x" * 300]
    files = export_vbench([film()] * 3, prompts, tmp_path)
    assert [f.name for f in files[:2]] == ["a cat-0.mp4", "a cat-1.mp4"] and all(f.is_file() for f in files)
    listed = json.loads((tmp_path / "prompts.json").read_text("utf-8"))
    assert list(listed.values()) == prompts and [tmp_path / "videos" / name for name in listed] == files
    assert "/" not in files[2].name and len(files[2].name) < 200
    with pytest.raises(FileExistsError):
        export_vbench([film()], ["a"], tmp_path)
    with pytest.raises(ValueError, match="needs a prompt"):
        export_vbench([film()], [], tmp_path / "other")


def test_videomae_reads_a_local_folder_and_downloads_nothing(tmp_path):
    transformers = optional.transformers()

    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        VideoMAE(tmp_path)
    config = transformers.VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.VideoMAEModel(config).save_pretrained(tmp_path)
    extract = VideoMAE(tmp_path, batch_size=2)
    found = extract([film(seed=k) for k in range(3)])
    assert found.shape == (3, 16) and np.isfinite(found).all() and not np.allclose(found[0], found[1])


# --- the shared sprites -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_sprites_do_not_flicker():
    if not (DATA / "lpc_sprites_64.npz").is_file():
        pytest.skip(f"no lpc_sprites_64.npz in {DATA} (set LANGEVIN_DATA)")
    with np.load(DATA / "lpc_sprites_64.npz", allow_pickle=False) as archive:
        clips = [Video(x, FPS) for x in archive["video"]]
        grounds = archive["background_rgb"]
    mask = static_pixels(clips)
    assert 0.3 < mask.mean() < 0.6
    assert max(flicker(c, mask) for c in clips) == 0
    assert max(border_difference(c, rgb) for c, rgb in zip(clips[:300], grounds)) == 0
    assert np.mean([flicker(c) for c in clips[:300]]) < 0.001
