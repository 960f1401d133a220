"""A HiFi-GAN in place of Griffin-Lim: a folder of transformers' SpeechT5HifiGan as the vocoder of a log-mel codec.

With a model of sounds (--model) it decodes what the model draws; else a sound goes there and back (--sound, a file; a
sliding tone by default). The mel spectrogram must be the one that the vocoder was trained on: another is refused. Without a
folder a vocoder for 8 kHz is made with random weights, so that this runs offline; it gives a steady buzz at multiples of
the frame rate, 62.5 Hz, whatever the sound is.

    python examples/plug_in_a_hifigan.py my/speecht5_hifigan --sound my/speech.wav
    python examples/plug_in_a_hifigan.py
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import langevin as lv
from langevin import optional
from langevin.modalities.audio.codec import LogMel
from langevin.modalities.audio.files import read
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.vocoders import GriffinLim, HifiGan

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", help="config.json and model.safetensors of a SpeechT5HifiGan")
parser.add_argument("--sound", help="a sound file")
parser.add_argument("--model", help="a model of sounds in log-mel spectrograms, by name or folder")
args = parser.parse_args()
out, spec = Path("runs/plug_in_a_hifigan"), None

if args.folder is None:
    args.folder, spec, transformers = out / "vocoder", preset("speech-8k"), optional.transformers()
    rates = {"upsample_rates": [8, 4, 4], "upsample_kernel_sizes": [16, 8, 8], "sampling_rate": 8000}
    config = transformers.SpeechT5HifiGanConfig(model_in_dim=64, upsample_initial_channel=32, **rates)
    transformers.SpeechT5HifiGan(config).save_pretrained(args.folder)
    print("the vocoder has random weights: it shows the way, not the quality")
hifigan = HifiGan(str(args.folder), spec)
model = lv.load(args.model) if args.model else None
codec = model.modality.codec if model else LogMel(hifigan.spec)
t = np.arange(16000) / 8000
sound = read(args.sound) if args.sound else Audio(0.5 * np.sin(2 * np.pi * (200 + 150 * t) * t), 8000)

for name, vocoder in (("griffin_lim", GriffinLim(codec.spec)), ("hifigan", hifigan)):
    codec = replace(codec, vocoder=vocoder)  # ValueError where the vocoder is of another spectrogram
    if model:
        model.modality.codec = codec
        made = model.sample(1, seed=0)[0]
    else:
        made = codec.decode(codec.encode([sound]))[0]
    made.normalised(peak=-3.0).save(out / f"{name}.wav")
    print(out / f"{name}.wav")
