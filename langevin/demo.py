"""The demo: every shipped model draws, and the verbs of the core are shown on what it drew; one page."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import langevin as lv
from langevin.hub import ModelInfo
from langevin.report import Code, Figure, Gallery, Page, Section, Text

__all__ = ["build"]

SHAPES = (
    "two red circles on the left",
    "a green star at the top",
    "three blue squares on the right",
    "a yellow triangle at the bottom",
    "four purple circles in the centre",
    "two orange stars at the top",
    "a black square on the left",
    "three green triangles at the bottom",
)

PICTOGRAMS = (
    "grinning face",
    "octopus",
    "rocket",
    "pizza",
    "dragon",
    "flag: Japan",
    "woman teacher",
    "hot beverage",
    "tulip",
    "butterfly",
)
SPOKEN = (
    ("six", "theo"),
    ("three", "nicolas"),
    ("zero", "jackson"),
    ("eight", "lucas"),
    ("five", "george"),
    ("two", "yweweler"),
)
SPRITES = (
    "a man walking to the left",
    "a woman with plain pink hair and light skin wearing a white shirt and teal pants, "
    "casting a spell facing the viewer, on a sky-blue background",
    "an orc thrusting facing right",
    "a skeleton shooting facing the viewer",
    "a man with messy blue hair and tanned skin wearing a brown shirt and white pants, slashing facing right, "
    "on a grass-green background",
    "a woman walking away from the viewer",
)
COLOURED = ("blue apple", "green heart", "purple octopus", "pink mushroom", "blue car", "orange fish")


def build(out: Path, device: str | None = None) -> Path:
    """Samples every shipped model and writes ``index.html`` and the files it shows.

    Args:
        out: folder; what an earlier demo wrote there is replaced.
        device: the best there is when None.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: no model ships with this installation.
    """
    shipped = lv.models()
    if not shipped:
        raise FileNotFoundError(
            "no model ships with this installation; train one: langevin train data.path=DIR"
        )
    started = time.perf_counter()
    sections, owed = [], []
    for info in shipped:
        _say(f"{info.name}: {info.summary}")
        model = lv.load(info.name, device=device)
        sections += SHOWS.get(info.name, _any)(model, info, out / info.name)
        owed.append(f"{info.name}: {info.licence}. {info.attribution}")
    seconds = time.perf_counter() - started
    page = Page(
        "langevin",
        sections,
        "What the models that ship with the package draw here: consecutive samples, none left out.",
        {"models": len(shipped), "seconds": round(seconds), "device": str(model.device), "seed": 0},
        owed,
    )
    out.mkdir(parents=True, exist_ok=True)
    return page.write(out / "index.html")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cards(samples: Any, captions: Sequence[str]) -> Gallery:
    html, note = samples.modality.html, samples.modality.note
    cards = [
        Figure.failure(item.reason, caption)
        if isinstance(item, lv.Failure)
        else Figure(html(item), caption, note(item))
        for item, caption in zip(samples, captions, strict=True)
    ]
    return Gallery(cards, samples.modality.card_width)


def _digits(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    labels = [i % 10 for i in range(20)]
    states: list[Any] = []
    drawn = model.sample(
        20, label=labels, seed=0, watch=lambda step: states.append(step.posterior.x[:4].cpu())
    )
    drawn.save(out, overwrite=True)
    names = [str(label) for label in labels]
    from langevin.modalities.image.view import strip

    first, second = drawn[8], drawn[3]
    varied = model.vary(first, 0.7, n=6, label=8, seed=1)
    painted = model.sample(6, like=second, keep=lv.keep.box(0, 0, 14, 28), label=[0, 2, 3, 5, 8, 9], seed=2)
    path = model.interpolate(drawn[1], drawn[0], 8, label=[1, 0], steps=20)
    steps = Figure.picture(strip(states, scale=3, most=10), "four samples, ten of the steps")
    kept = "`model.sample(like=picture, keep=lv.keep.box(0, 0, 14, 28), label=…)`: the upper half is kept."
    return [
        Section(
            "Digits by class",
            f"{_sentence(info.summary)}. `model.sample(20, label=[0, 1, 2, …])`",
            [_cards(drawn, names), Code(_code(info.name, "20, label=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 2"))],
        ),
        Section(
            "What the model believes on the way",
            "The clean estimate at each step, from noise on the left.",
            [Gallery([steps], 600)],
        ),
        Section(
            "Vary, repaint, interpolate",
            "The verbs of the core, the same for every modality.",
            [
                Text("`model.vary(picture, 0.7)`: the first picture noised to t = 0.7 and sampled again."),
                _row(varied, first, "start", [f"variation {i + 1}" for i in range(6)]),
                Text(kept),
                _row(painted, second, "kept: upper half", [f"as {i}" for i in (0, 2, 3, 5, 8, 9)]),
                Text("`model.interpolate(a, b, 8)`: both inverted to noise, joined along the great circle."),
                _cards(path, ["a", *[""] * 6, "b"]),
            ],
        ),
    ]


def _row(samples: Any, first: Any, caption: str, captions: Sequence[str]) -> Gallery:
    """A picture the user gave, then what was made of it."""
    gallery = _cards(samples, captions)
    return Gallery([Figure(samples.modality.html(first), caption), *gallery.figures], gallery.size)


def _shapes(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    prompts = [prompt for prompt in SHAPES for _ in range(2)]
    drawn = model.sample(len(prompts), prompt=prompts, seed=0)
    drawn.save(out, overwrite=True)
    turned = model.sample(4, start=drawn[0], strength=0.9, prompt="two blue circles on the left", seed=1)
    return [
        Section(
            "Shapes from text",
            f"{_sentence(info.summary)}. Compositions held out of training are scored on the card.",
            [_cards(drawn, prompts), Code(_code(info.name, f'2, prompt="{SHAPES[0]}"'))],
        ),
        Section(
            "Start from a picture",
            '`model.sample(start=picture, strength=0.9, prompt="two blue circles on the left")`',
            [_row(turned, drawn[0], "start", ["two blue circles"] * 4)],
        ),
    ]


def _pictograms(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    drawn = model.sample(len(PICTOGRAMS), prompt=PICTOGRAMS, seed=0)
    drawn.save(out, overwrite=True)
    coloured = model.sample(len(COLOURED), prompt=COLOURED, seed=0)
    path = model.interpolate(drawn[1], drawn[4], 8, prompt=[PICTOGRAMS[1], PICTOGRAMS[4]], steps=20)
    return [
        Section(
            "Pictograms from text",
            f"{_sentence(info.summary)}. It knows few drawings, by heart; the card says how far beyond it goes.",
            [_cards(drawn, PICTOGRAMS), Code(_code(info.name, f'2, prompt="{PICTOGRAMS[0]}"'))],
        ),
        Section(
            "In the colour you ask for",
            "Training turned the hues of the drawings and named them, so that a colour can be asked for.",
            [_cards(coloured, COLOURED)],
        ),
        Section(
            "From one to the other",
            "`model.interpolate(octopus, dragon, 8)`",
            [_cards(path, [PICTOGRAMS[1], *[""] * 6, PICTOGRAMS[4]])],
        ),
    ]


def _molecules(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    from langevin.modalities.molecule.properties import smiles
    from langevin.modalities.molecule.view import picture

    drawn = model.sample(15, seed=0)
    drawn.save(out, overwrite=True)
    names = ["" if isinstance(item, lv.Failure) else smiles(item) for item in drawn]
    sections = [
        Section(
            "Molecules with hydrogens" if model.modality.hydrogens else "Molecules, heavy atoms only",
            f"{_sentence(info.summary)}. Drag one to turn it; each is an rdkit molecule with a conformer.",
            [_cards(drawn, names), Code(_code(info.name, "15"))],
        )
    ]
    if model.objective.given:
        return [*sections, *_parts(model)]
    first = next((item for item in drawn if not isinstance(item, lv.Failure)), None)
    if first is not None and first.GetNumAtoms() > 4:
        near = [model.vary(first, amount, n=3, seed=1) for amount in (0.3, 0.6)]
        shown = [Figure.picture(picture(first), "start")]
        for amount, row in zip((0.3, 0.6), near, strict=True):
            for item in row:
                failed = isinstance(item, lv.Failure)
                shown.append(
                    Figure.failure(item.reason, f"t = {amount}")
                    if failed
                    else Figure.picture(picture(item), f"t = {amount}")
                )
        sections.append(
            Section(
                "Near a molecule",
                "`model.vary(molecule, 0.3)`: noised to t = 0.3 or 0.6 and drawn again.",
                [Gallery(shown, model.modality.card_width)],
            )
        )
    return sections


def _parts(model: Any) -> list[Section]:
    """What a molecule model draws around what is given."""
    from langevin.modalities.molecule import edits
    from langevin.modalities.molecule.conformers import of_smiles
    from langevin.modalities.molecule.properties import smiles

    asked = "C[C@H](O)C(N)=O"
    placed = edits.geometry(model, asked, n=4, seed=0)
    grown = edits.grow(model, of_smiles("c1ccoc1"), atoms=(4, 8), at=[1], n=5, seed=1)
    names = ["" if isinstance(item, lv.Failure) else smiles(item) for item in grown]
    return [
        Section(
            "A geometry for a SMILES",
            f'`edits.geometry(model, "{asked}", n=4)`: the graph is given, with its R and S; the positions are drawn. '
            "In colour the conformer of ETKDG and MMFF, laid on each.",
            [_cards(placed, [asked] * 4)],
        ),
        Section(
            "Grown from a fragment",
            "`edits.grow(model, furan, atoms=(4, 8), at=[1], n=5)`: the ring stays where it was; new atoms are in colour.",
            [_cards(grown, names)],
        ),
    ]


def _spoken(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    prompts = [f"the digit {word} spoken by {speaker}" for word, speaker in SPOKEN]
    drawn = model.sample(len(prompts), prompt=prompts, seed=0)
    drawn.save(out, overwrite=True)
    first = next((item for item in drawn if not isinstance(item, lv.Failure)), None)
    sections = [
        Section(
            "Spoken digits",
            f"{_sentence(info.summary)}. The card says how it does on pairs of digit and speaker that it never heard.",
            [_cards(drawn, prompts), Code(_code(info.name, f'2, prompt="{prompts[0]}"'))],
        )
    ]
    if first is None:
        return sections
    word, speaker = SPOKEN[list(drawn).index(first)]
    voices = [name for _, name in SPOKEN if name != speaker][:2]
    turned = model.sample(2, start=first, strength=0.8, label=word, speaker=voices, seed=1)
    filled = model.sample(2, like=first, keep=~lv.keep.seconds(0.3, 0.5), label=word, speaker=speaker, seed=2)
    start = Figure(model.modality.html(first), "start", prompts[0])
    return [
        *sections,
        Section(
            "Start from a sound, redraw a part of it",
            "`model.sample(start=sound, strength=0.8, label=…, speaker=…)` gives the word to another voice; "
            "`keep=~lv.keep.seconds(0.3, 0.5)` draws these 0.2 s anew and leaves the other samples as they are.",
            [
                Gallery(
                    [
                        start,
                        *_cards(turned, voices).figures,
                        *_cards(filled, ["0.3 … 0.5 s drawn anew"] * 2).figures,
                    ],
                    model.modality.card_width,
                )
            ],
        ),
    ]


def _sprites(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    drawn = model.sample(len(SPRITES), prompt=SPRITES, seed=0)
    drawn.save(out, overwrite=True)
    first = next((k for k, item in enumerate(drawn) if not isinstance(item, lv.Failure)), None)
    sections = [
        Section(
            "Animated sprites from text",
            f"{_sentence(info.summary)}. The card scores it on captions of figures that it never saw.",
            [_cards(drawn, SPRITES), Code(_code(info.name, f'2, prompt="{SPRITES[0]}"'))],
        )
    ]
    if first is None:
        return sections
    clip, prompt = drawn[first], SPRITES[first]
    moved = model.sample(2, like=clip, keep=lv.keep.frames(0), prompt=prompt, seed=1)
    longer = model.extend(clip, frames=16, prompt=prompt, seed=2)
    loop = model.sample(1, loop=True, prompt=prompt, seed=3)
    return [
        *sections,
        Section(
            "A first frame moves, a clip goes on, a loop",
            "`keep=lv.keep.frames(0)` keeps the first frame of the clip and draws the others; "
            "`model.extend(clip, frames=16)` goes on after it; `loop=True` draws on a circle of frames.",
            [
                Gallery(
                    [
                        Figure(model.modality.html(clip), "start", prompt),
                        *_cards(moved, ["from its first frame"] * 2).figures,
                        *_cards(longer, ["16 frames more"]).figures,
                        *_cards(loop, ["a loop"]).figures,
                    ],
                    model.modality.card_width,
                )
            ],
        ),
    ]


def _any(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    """A model that this page knows nothing special about."""
    drawn = model.sample(8, seed=0)
    drawn.save(out, overwrite=True)
    return [
        Section(info.name, _sentence(info.summary), [Gallery(drawn.figures(), drawn.modality.card_width)])
    ]


def _scenes(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    kinds = ["dog bark", "sea waves", "clock tick", "helicopter", "chainsaw", "fire crackling"]
    drawn = model.sample(len(kinds), label=kinds, seed=0)
    drawn.save(out, overwrite=True)
    loop = model.sample(1, label="fire crackling", loop=True, seed=1)
    return [
        Section(
            "Environmental sounds",
            f"{_sentence(info.summary)}. Some kinds are drawn better than others: the card has the figures of each.",
            [_cards(drawn, kinds), Code(_code(info.name, '2, label="sea waves"'))],
        ),
        Section(
            "A loop",
            "`model.sample(label=…, loop=True)`: the beginning follows the end. Let it play twice.",
            [_cards(loop, ["fire crackling"])],
        ),
    ]


def _proteins(model: Any, info: ModelInfo, out: Path) -> list[Section]:
    from langevin.modalities.protein.design import design

    lengths = [60, 80, 100, 120]
    drawn = [model.sample(2, length=n, seed=n) for n in lengths]
    for n, samples in zip(lengths, drawn, strict=True):
        samples.save(out / f"{n}_residues", overwrite=True)
    cards = [
        figure
        for n, samples in zip(lengths, drawn)
        for figure in _cards(samples, [f"{n} residues"] * 2).figures
    ]
    sections = [
        Section(
            "Protein backbones",
            f"{_sentence(info.summary)}. Turn them with the pointer; the card says how they compare with real chains.",
            [Gallery(cards, model.modality.card_width), Code(_code(info.name, "2, length=80"))],
        )
    ]
    motif = next((item for samples in drawn for item in samples if not isinstance(item, lv.Failure)), None)
    if motif is None:
        return sections
    held = design(model, "10-20/A20-35/10-20", motif, n=3, seed=1)
    ring = design(model, "120", symmetry="C3", seed=2)
    return [
        *sections,
        Section(
            "A motif held, three chains around an axis",
            '`design(model, "10-20/A20-35/10-20", structure, n=3)` keeps sixteen residues of the first backbone and draws '
            'what holds them; `design(model, "120", symmetry="C3")` draws three equal chains.',
            [
                Gallery(
                    [*_cards(held, ["residues 20 to 35 kept"] * 3).figures, *_cards(ring, ["C3"]).figures],
                    model.modality.card_width,
                )
            ],
        ),
    ]


def _code(name: str, arguments: str) -> str:
    load = f'import langevin as lv\n\nmodel = lv.load("{name}")'
    return f'{load}\nmodel.sample({arguments}, seed=0).report("out.html")'


SHOWS: dict[str, Callable[[Any, ModelInfo, Path], list[Section]]] = {
    "audio-digits": _spoken,
    "audio-scenes": _scenes,
    "image-digits": _digits,
    "image-shapes": _shapes,
    "image-emoji": _pictograms,
    "molecule-qm9": _molecules,
    "molecule-qm9-heavy": _molecules,
    "protein-backbone": _proteins,
    "video-sprites": _sprites,
}
