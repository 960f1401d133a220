"""Modality: everything that the core does not know about pictures, sounds, molecules …, in one object.

The core sees states (tensors, or dicts of them by leaf), conditions and tokens. A modality supplies the
two ends,

    native objects ──encode──▶ state, mask        state, mask ──decode──▶ native objects, or Failure(reason)

the shapes of new samples (:meth:`Modality.blank`), the tokens that a backbone sees
(:meth:`Modality.tokens` and back, without parameters), and what people do with results: files, pictures,
pages, metrics.

The classes here import neither torch nor a heavy package, so that the command line can read a
:class:`Plugin` to build its flags. Another package adds a modality by naming its plugin under the entry
point group ``langevin.modalities``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from langevin.modalities.samples import Failure, Run, Samples
from langevin.modalities.streams import LongForm
from langevin.tables import Table

if TYPE_CHECKING:
    from torch import Tensor

    from langevin.core.conditioning import Embedder
    from langevin.core.keep import Keep
    from langevin.core.packing import Batch
    from langevin.core.parts import Part
    from langevin.core.processes import Process, State
    from langevin.core.rng import Stream
    from langevin.core.times import Times
    from langevin.core.tokens import Tokens

__all__ = ["Autoencoder", "Command", "Failure", "Modality", "NoSpec", "Plugin", "Run", "Samples", "Table"]


@dataclass(frozen=True)
class NoSpec:
    """Nothing to say: for modalities whose samples have one shape, or that are measured in one way."""


class Modality(LongForm, ABC):
    """What the core does not know. One instance serves one model: a subclass takes its sizes and settings.

    Class attributes:
        name: "image", "audio", …; lower case.
        suffix: of the files that :meth:`save` writes, ".png".
        suffixes: of the files that :meth:`read` takes, lower case.
        written: of all files that :meth:`save` can write, :attr:`suffix` first; that alone where there are none.
        spec: a dataclass of what users may say about new samples in native units (size, seconds, frames,
            atoms …), every field with a default. Its fields are keywords of ``model.sample`` and flags of
            ``langevin sample``; a field's ``metadata["help"]`` is the flag's help, and ``metadata["shape"]`` is False
            where it says nothing about shapes, and so may stand beside objects that have shapes of their own.
        places: axes of a token's position whose origin means something, as rows and columns do and the coordinates of
            atoms do not; the network is told the place along these.
        pairs: width of the pair features in :meth:`tokens`; 0 where there are none.
        pair_outputs: width of what is read out of pairs, by name; it joins the values of :meth:`untokens`.
        points: the leaf whose values are points in space, which an equivariant network takes by their distances; None
            where there is none. See :class:`langevin.core.tokens.Tokeniser`.
        clocks: leaves that may be noised by clocks of their own; none where all share one.
        card_width: least width of a sample in a gallery, in pixels.
        filter: a dataclass of what samples may be asked to be, for :meth:`test`: its field ``filter`` is a condition on
            measures, the others are of the modality's own; every field has a default. Its fields are keywords of
            ``model.passing`` and flags of ``langevin sample``, and its class attribute ``measures`` maps the names of
            measures to what they are. None where there are no measures.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    written: ClassVar[tuple[str, ...]] = ()
    spec: ClassVar[type] = NoSpec
    places: int = 0
    pairs: int = 0
    pair_outputs: Mapping[str, int] = MappingProxyType({})
    points: str | None = None
    clocks: tuple[str, ...] = ()
    card_width: ClassVar[int] = 128
    filter: ClassVar[type | None] = None

    # what the core sees

    @property
    @abstractmethod
    def process(self) -> Process:
        """How states are noised."""

    @property
    @abstractmethod
    def conditions(self) -> Mapping[str, Embedder]:
        """An embedder for each thing that models of this modality can be conditioned on; may be empty."""

    @property
    @abstractmethod
    def inputs(self) -> dict[str, int]:
        """Width of each leaf's values in :meth:`tokens`."""

    @property
    @abstractmethod
    def outputs(self) -> dict[str, int]:
        """Width of each leaf's values in :meth:`untokens`."""

    @abstractmethod
    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """Native objects to float32 leaves (B, …) and a mask (B, L), None where all elements are real.

        Raises:
            ValueError: an object that has no state; the message gives its place and the reason.
        """

    def batches(self, items: Sequence[Any]) -> list[Batch]:
        """Native objects in training, by the shapes of their states; all as one batch unless overridden.

        Raises:
            ValueError: as :meth:`encode`.
        """
        from langevin.core.packing import Batch

        return [Batch.whole(*self.encode(items))]

    @abstractmethod
    def decode(self, state: State, mask: Tensor | None = None) -> list[Any]:
        """A state to one native object per row, or :class:`Failure`."""

    def failed(self, item: Any) -> bool:
        """Whether a decoded object is a :class:`Failure`."""
        return isinstance(item, Failure)

    @abstractmethod
    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Zeros of the shape of new samples, and their mask.

        Args:
            indices: the number of each sample.
            rng: one row per sample, for sizes that are drawn from the training histogram.
            conditions: what the samples are conditioned on.
            spec: an instance of :attr:`spec`.
        """

    def known(self, spec: Any, rng: Stream) -> tuple[Sequence[Any], Keep] | None:
        """What ``spec`` says to be in new samples from the start, as a protein around a molecule: a native object for each
        of them, and which part of it is kept. None where :meth:`blank` is all that there is.

        Args:
            spec: an instance of :attr:`spec`.
            rng: one row for each sample, the same that :meth:`blank` is given.
        """
        return None

    @abstractmethod
    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """The state as tokens (B, N, D), positions (B, N, p), mask (B, N) and perhaps pairs (B, N, N, P)."""

    @abstractmethod
    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        """Values by leaf, (B, N, D), and of pairs, (B, N, N, D), as a network output of the shape of ``like``."""

    def couple(
        self,
        x: State,
        noise: State,
        rng: Stream,
        mask: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        apart: Tensor | None = None,
    ) -> State:
        """Clean states as they meet their noise in training; the states as they are, unless overridden.

        Where an object has equivalent states (turned, or with its elements in another order), this is where one of them
        is chosen: at random, or the one nearest to the noise, for shorter paths. What is given, or noised by a clock of
        its own, must not tell the noise from another: an order of atoms that was chosen by the noise of their positions
        would, where elements are seen before positions are.

        Args:
            x: clean states.
            noise: the states at t = 1 to which each of them will be joined.
            rng: one row for each sample.
            mask: (B, L).
            given: booleans by leaf of what is shown clean; None for nothing.
            apart: (B,), samples whose leaves have clocks of their own; None for none.
        """
        return x

    def auxiliary(self, belief: State, x: State, t: Times, mask: Tensor | None = None) -> Tensor:
        """A loss (B,) of what the network believes, beside those of the leaves; for modalities that have one.

        Args:
            belief: clean estimates by leaf, with their gradient (:func:`langevin.core.recall.believed`).
            x: clean states.
            t: their times.
            mask: (B, L).

        Raises:
            NotImplementedError: this modality has none.
        """
        raise NotImplementedError(f"{self.name} has no auxiliary loss; leave objective.auxiliary at 0")

    def noised(self, x: State, t: Times, rng: Stream, mask: Tensor | None = None) -> State:
        """Users' objects at a time to begin from: noised as in training, so coupled to their noise where that couples.

        It is the noise that is moved here, so that the objects stay as they lie.
        """
        return self.process.corrupt(x, t, rng, mask=mask)

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """A batch in training by what is given of it (``objective.given``); see :mod:`langevin.core.parts`.

        Args:
            x: clean states.
            rng: one row for each sample.
            mask: (B, L).
            share: of samples of which something is given.

        Raises:
            ValueError: this modality gives no parts.
        """
        raise ValueError(
            f"objective.given: models of {self.name} are not trained with given parts; leave it out"
        )

    def framed(self, x: State, given: Mapping[str, Tensor], mask: Tensor | None) -> tuple[State, Process]:
        """Known states in the frame of what is given of them, and the process of that frame; as they are by default."""
        return x, self.process

    def shows(self, chosen: State) -> bool:
        """Whether a model that was trained with given parts can be shown these, clean and at time 0; by default it can.

        Args:
            chosen: booleans by leaf, as of :meth:`chosen`.
        """
        return True

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """Where ``known`` is kept: booleans by leaf, leading axes of the leaf or all of them.

        Args:
            keep: the choice.
            known: encoded objects.
            items: these objects, one for all rows or one for each, where a modality needs to know how far they reach.

        Raises:
            ValueError: this modality cannot keep parts of a sample.
        """
        raise ValueError(f"samples of {self.name} cannot be kept in part")

    def restore(self, item: Any, original: Any, keep: Keep) -> Any:
        """A decoded sample with the user's own values where they are kept; itself where decoding is exact."""
        return item

    def collect(
        self,
        state: State,
        mask: Tensor | None,
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        like: Any = None,
        keep: Keep | None = None,
        indices: Sequence[int] | None = None,
    ) -> Samples:
        """Decodes a run into :class:`Samples`.

        Args:
            state: (B, …) at t = 0.
            mask: (B, L).
            record: how they were made: fields of :class:`Run`, and more that goes to its options.
            conditions: raw values by name, one for each sample.
            like: what was kept, or what the samples began from.
            keep: what of it was kept, for :meth:`restore`; None for nothing.
            indices: the number of each sample under the seed; 0, 1, … when None.
        """
        items = self.decode(state, mask)
        if keep is not None:
            originals = list(like) if isinstance(like, (list, tuple)) else [like] * len(items)
            originals = originals * len(items) if len(originals) == 1 else originals
            items = [
                item if isinstance(item, Failure) else self.restore(item, original, keep)
                for item, original in zip(items, originals, strict=True)
            ]
        return self.gathered(items, state, mask, record, conditions, indices)

    def gathered(
        self,
        items: Sequence[Any],
        state: State | None,
        mask: Tensor | None,
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        indices: Sequence[int] | None = None,
    ) -> Samples:
        """Native objects of a run as :class:`Samples`; arguments as of :meth:`collect`."""
        known = {f.name for f in fields(Run)}
        given = {k: v for k, v in record.items() if v is not None}
        run = Run(
            modality=self.name,
            options={k: v for k, v in given.items() if k not in known},
            **{k: v for k, v in given.items() if k in known},
        )
        rows = [{k: v[i] for k, v in conditions.items()} for i in range(len(items))]
        return Samples(items, self, run, state, mask, rows, indices)

    # what people see

    @abstractmethod
    def save(self, item: Any, path: Path) -> None:
        """Write a native object to a file; ``path`` has the suffix :attr:`suffix` or one of :attr:`written`."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The native object in a file.

        Raises:
            ValueError: not a file of this modality; the message names it.
        """

    def read_all(self, path: Path) -> list[Any]:
        """Every native object in a file, to be measured; a :class:`Failure` in the place of one that cannot be read.

        Raises:
            ValueError: as :meth:`read`.
        """
        return [self.read(path)]

    def files(self, samples: Samples) -> Mapping[str, Callable[[Path], object]]:
        """What a folder of samples holds beside a file for each and ``samples.json``: a writer by name of the file."""
        return {}

    @abstractmethod
    def picture(self, item: Any) -> Any:
        """A PIL image that shows the object."""

    def html(self, item: Any) -> str:
        """A self-contained fragment that shows the object: its picture, unless overridden."""
        from langevin.report import picture_html

        return picture_html(self.picture(item), alt=f"a sample of {self.name}")

    def note(self, item: Any) -> str:
        """A few words below the object in galleries; none, unless overridden."""
        return ""

    def sheet(self, items: Sequence[Any]) -> Any:
        """A PIL image that shows several objects at once; a failure is a box with its reason."""
        from langevin.modalities.sheets import box, sheet

        pictures = [None if isinstance(item, Failure) else self.picture(item) for item in items]
        there = [picture.size for picture in pictures if picture is not None] or [(self.card_width,) * 2]
        size = max(width for width, _ in there), max(height for _, height in there)
        return sheet(
            [
                box(item.reason, size) if isinstance(item, Failure) else picture
                for item, picture in zip(items, pictures)
            ]
        )

    def preview(self, state: State, mask: Tensor | None = None) -> Any:
        """A PIL image of states in the making, cheap enough to be made every second; decoded, unless overridden.

        Args:
            state: clean estimates, (B, …) on the CPU.
            mask: (B, L).
        """
        return self.sheet(self.decode(state, mask))

    def test(self, asked: Any) -> Callable[[Any], tuple[bool, Mapping[str, Any]]]:
        """What tells of native objects, one after the other, whether they pass, and what it measured to tell.

        Args:
            asked: an instance of :attr:`filter`. The function that is returned may have an attribute ``record``: what
                is asked, as plain data for ``samples.json``.

        Raises:
            ValueError: this modality has no measures.
        """
        raise ValueError(
            f"samples of {self.name} have no measures to filter by; give a function of a sample instead"
        )

    def measure(self, items: Sequence[Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
        """Measures of each native object by name; nothing of a failure.

        Raises:
            ValueError: this modality has no measures, or an unknown name.
        """
        raise ValueError(f"samples of {self.name} have no measures")

    def evaluate(self, items: Sequence[Any], reference: Sequence[Any] | None = None) -> Table | None:
        """Measures of native objects, compared with those of ``reference`` if given.

        A modality whose plugin has an ``evaluation`` takes its fields as keywords.

        Args:
            items: native objects; a :class:`Failure` among them counts against them.
            reference: real objects, or other samples.

        Returns:
            One row per measure, or None where nothing can be measured without a reference.
        """
        return None


class Autoencoder(Protocol):
    """An autoencoder in training, as the trainer and the command line see it.

    Attributes:
        network: what is trained.
    """

    network: Any

    @property
    def name(self) -> str:
        """Of its folder, where none is given."""
        ...

    def loss(self, items: Any, conditions: Any, rng: Any, rows: tuple[int, int] | None = None) -> Any:
        """The loss of each item (B,) and its parts; see :class:`langevin.core.training.trainer.Trainer`."""
        ...

    @property
    def codec(self) -> Any:
        """What encodes and decodes with the weights as they are."""
        ...

    def sheet(self, data: Any) -> Any:
        """A PIL image of items beside their reconstructions."""
        ...

    def complete(self, data: Any, seed: int) -> None:
        """What remains to be taken from the data once the weights are the averaged ones."""
        ...

    def save(self, folder: Path, record: Mapping[str, Any], trained: str, data: Any) -> Any:
        """Writes the folder that configurations name as a codec, and gives the codec.

        Args:
            folder: of the run.
            record: settings and data of the training, for its config.yaml.
            trained: steps, batch and items in words, for its card.
            data: on which the error of reconstruction is measured.
        """
        ...


@dataclass(frozen=True)
class Command:
    """A subcommand that a modality adds to the command line.

    Attributes:
        name: what follows ``langevin``; not one of the command line's own.
        summary: one line for help.
        words: what the arguments that are no flags are called in help.
        spec: a dataclass whose fields are the flags, every field with a default; as of :attr:`Modality.spec`.
        read: (words, an instance of ``spec``) -> what is asked for. A ValueError is a mistake of usage, exit code 2;
            it should come at once, so nothing heavy is imported here.
        run: what ``read`` gave -> the text that is printed.
        more: examples and explanations, below the flags in help.
    """

    name: str
    summary: str
    words: str
    spec: type
    read: Callable[[Sequence[str], Any], Any]
    run: Callable[[Any], str]
    more: str = ""


@dataclass(frozen=True)
class Plugin:
    """A modality as the command line and model folders find it, described without importing what it needs.

    Attributes:
        name: of the modality; what stands in a model's config.yaml.
        summary: one line for help and listings.
        modality: makes the modality from plain settings (those of config.yaml; none for the default one,
            which can read and evaluate files). Heavy imports belong inside.
        open: (path or name, **options) -> a data set to train on.
        defaults: (data set, given keys) -> the configuration of a model for it, in which the given keys stand.
        spec: the modality's :attr:`Modality.spec`.
        autoencoder: (data set, given keys, seed) -> an :class:`Autoencoder` to train; None where there is none.
        filter: the modality's :attr:`Modality.filter`.
        evaluation: a dataclass of what may be said about measuring, every field with a default: keywords of
            :meth:`Modality.evaluate` and flags of ``langevin evaluate``.
        suffixes: of the files that are known to be of this modality by their names, lower case.
        written: the modality's :attr:`Modality.written`: the formats that ``langevin sample`` offers.
        own: keys of a modality's settings that follow from the data even where a training begins from another model.
        commands: subcommands of the command line.
    """

    name: str
    summary: str
    modality: Callable[..., Modality]
    open: Callable[..., Any]
    defaults: Callable[[Any, dict[str, Any]], dict[str, Any]]
    spec: type = NoSpec
    autoencoder: Callable[[Any, dict[str, Any], int], Autoencoder] | None = None
    filter: type | None = None
    evaluation: type = NoSpec
    suffixes: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
