"""Sound files: what is in them, whole or block by block, and writing them whole or not at all.

    .wav .flac .ogg .mp3        libsndfile (soundfile), exact to the sample
    .m4a .mp4 .mov .webm .mkv   FFmpeg's libraries (PyAV): the first sound track

16-bit PCM is read as v / 32768 and written as round(32768 x), so that every value survives a round trip. wav, flac and
ogg have as many samples as were written; mp3 and m4a are padded, which some players play (:data:`EXACT`).

Files may come from strangers: what a header claims is compared with what is there before memory is taken, no file opens
another, and whatever is wrong is a :class:`SoundError` that names the file.

**Peaks.** Lossy decoders and players overshoot, so a file is written with its peak at −1 dBFS or below: a louder sound is
turned down as a whole, and the note that :func:`write` returns says by how much. With ``clip="keep"`` levels stay as they
are, and the note counts the samples that were clipped.
"""

from langevin.modalities.audio.reading import EXTENSIONS, Info, Reader, SoundError, info, read
from langevin.modalities.audio.writing import EXACT, Writer, write

__all__ = ["EXACT", "EXTENSIONS", "Info", "Reader", "SoundError", "Writer", "info", "read", "write"]
