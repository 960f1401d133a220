"""Text to sound: sentences as wav files, and a sheet of their spectrograms.

Numbers, seeds and texts are in the names of the files. runs/text_to_sound/now.png shows what is being made.

    python examples/text_to_sound.py                                    # audio-digits
    python examples/text_to_sound.py my-model --prompt "rain on a tent" --seconds 2
"""

import argparse
from pathlib import Path

import langevin as lv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="audio-digits", help="a shipped model, or a folder")
parser.add_argument("--prompt", action="append", help="what is to be heard; may be repeated")
parser.add_argument("--seconds", type=float, help="duration (as trained)")
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()
prompts = args.prompt or [f"the digit {digit} spoken by theo" for digit in ("six", "three", "zero")]

model, out = lv.load(args.model), Path("runs/text_to_sound")
shape = {} if args.seconds is None else {"seconds": args.seconds}
out.mkdir(parents=True, exist_ok=True)
sounds = model.sample(
    prompt=prompts, steps=args.steps, seed=0, watch=lv.preview(model, out / "now.png"), **shape
)
for path in sounds.save(out, overwrite=True):  # peaks at -1 dBFS at most
    print(path)
model.modality.sheet(sounds).save(out / "spectrograms.png")
sounds.report(out / "report.html", "Text to sound")  # with players
print(out / "spectrograms.png", out / "report.html", sep="\n")
for prompt, sound in zip(prompts, sounds.valid):
    print(f"{prompt}: {sound}")
