"""Settings by RFdiffusion's names: all of its examples, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from langevin.modalities.protein.contigs import Contig, ContigError, positions, residues
from langevin.modalities.protein.rfdiffusion import NAMES, Request, read


def test_names_lead_to_fields() -> None:
    fields = {one.name for one in dataclasses.fields(Request)}
    targets = [target for target, _ in NAMES.values()]
    assert len(set(targets)) == len(targets) and set(targets) - {"length", "scaffolds"} <= fields


def test_settings_are_translated() -> None:
    request = read(
        [
            "contigmap.contigs=[5-15/A10-25/30-40/0 B1-100]",
            "contigmap.length=55-60",
            "contigmap.inpaint_seq=[A12/A14-16]",
            "ppi.hotspot_res=['B30','B33']",
            "diffuser.T=100",
            "diffuser.partial_T=null",
            "denoiser.noise_scale_ca=0",
            "++denoiser.noise_scale_frame=0.5",
            "inference.input_pdb=a b.pdb",
            "inference.num_designs=3",
            "inference.design_startnum=4",
            "inference.output_prefix='out/x'",
            "inference.deterministic=True",
            "potentials.guide_scale=2",
            "potentials.guide_decay='quadratic'",
            "potentials.olig_intra_all=True",
        ]
    )
    assert request.contig == Contig.of("5-15/A10-25/30-40/0 B1-100", "55-60")
    assert request.inpaint_seq == residues("A12/A14-16") and request.hotspots == residues("B30,B33")
    assert (request.steps, request.partial_steps, request.time) == (100, None, None)
    assert (request.noise_positions, request.noise_rotations) == (0.0, 0.5)
    assert (request.input, request.designs, request.first, request.prefix) == ("a b.pdb", 3, 4, "out/x")
    assert request.deterministic and (request.guide_scale, request.guide_decay) == (2.0, "quadratic")
    assert request.olig_intra_all and not request.olig_inter_all
    assert request.plan().contig == request.contig and request.copies == 1
    assert dataclasses.replace(read([]), given={}) == Request()


EXAMPLES = [
    ["inference.symmetry=C6", "contigmap.contigs=[480-480]", "--config-name=symmetry"],
    [
        "--config-name",
        "base",
        "inference.cyclic=True",
        "inference.cyc_chains='a'",
        "contigmap.contigs=[12-18 A3-117/0]",
        r"ppi.hotspot_res=['A51','A52','A50']",
    ],
    ["contigmap.contigs=[A25-109/0 0-70/B17-29/0-70]", "contigmap.length=70-120"],
    [
        'contigmap.contigs=["172-172/0 34-34"]',
        "diffuser.partial_T=10",
        "contigmap.provide_seq=[172-177,200-205]",
    ],
    ["contigmap.contigs=[100-200]", 'potentials.guiding_potentials=["type:monomer_ROG,weight:1,min_dist:5"]'],
    [
        "contigmap.contigs=[70-100/0 B165-178]",
        "contigmap.inpaint_str=[B165-178]",
        "scaffoldguided.scaffoldguided=True",
        "contigmap.inpaint_str_helix=[B165-178]",
    ],
]


@pytest.mark.parametrize("words", EXAMPLES, ids=lambda words: words[-1])
def test_command_lines_of_its_examples_are_plans(words: list[str]) -> None:
    request = read(words)
    plan = dataclasses.replace(request, symmetry=None).plan()
    assert plan.contig.range()[0] > 0


def test_some_values() -> None:
    request = read(EXAMPLES[3])
    assert request.provide_seq == positions("172-177,200-205") and request.time == pytest.approx(0.2)
    assert read(EXAMPLES[4]).potentials == ("type:monomer_ROG,weight:1,min_dist:5",)
    two = read(['potentials.guiding_potentials=["type:a,weight:1","type:b"]']).potentials
    assert two == ("type:a,weight:1", "type:b")
    assert read(["potentials.guiding_potentials=[type:a,weight:1]"]).potentials == ("type:a,weight:1",)
    assert read(EXAMPLES[0]).copies == 6
    assert str(read(EXAMPLES[0]).plan().contig) == "80-80"
    symmetric = read(["--config-name", "symmetry"])
    assert (symmetric.symmetry, str(symmetric.contig)) == ("c2", "100-100")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["contigmap.contig=100"], "unknown setting 'contigmap.contig'; did you mean 'contigmap.contigs'?"),
        (["contigs=100"], "unknown setting 'contigs'; did you mean 'contigmap.contigs'?"),
        (["inference.ckpt_override_path=x"], "weights of RFdiffusion cannot be loaded"),
        (["model.d_pair=3"], "model.d_pair: a setting inside RFdiffusion, which has no counterpart here"),
        (["diffuser.b_0=3"], "diffuser.b_0: a setting inside RFdiffusion"),
        (["scaffoldguided.scaffold_dir=x"], "folds from scaffold files are not supported"),
        (["scaffoldguided.scaffoldguided=True"], "folds from scaffold files are not supported"),
        (["scaffoldguided.scaffold_list=x"], "langevin design --fold scaffold.pdb take the structure"),
        (["scaffoldguided.mask_loops=False"], "are pickles, which can run anything; design(fold="),
        (["diffuser.T=0"], "diffuser.T: expected a whole number from 1, got '0'"),
        (["diffuser.T=2.5"], "expected a whole number from 1, got '2.5'"),
        (["diffuser.partial_T=80"], "diffuser.partial_T: 80 steps of 50; it is at most diffuser.T"),
        (["denoiser.noise_scale_ca=-1"], "denoiser.noise_scale_ca: expected a number from 0"),
        (["denoiser.noise_scale_ca=nan"], "expected a number from 0"),
        (["inference.deterministic=yes"], "expected True or False, got 'yes'"),
        (["potentials.guide_decay=quadratc"], "unknown decay 'quadratc'; did you mean 'quadratic'?"),
        (["potentials.guiding_potentials=[monomer_ROG]"], "expected potentials as"),
        (["contigmap.length=55"], "contigmap.length is given without contigmap.contigs"),
        (["inference.cyc_chains=a"], "without inference.cyclic=True"),
        (["diffuser.T=20", "diffuser.T=30"], "diffuser.T is given twice"),
        (["100"], "expected a setting of RFdiffusion, name=value, got '100'"),
        (["inference.input_pdb="], "the value is empty"),
        (["--config-name=symmetri"], "did you mean 'symmetry'?"),
    ],
)
def test_what_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(words)
    assert says in str(caught.value)


def test_mistakes_in_values_are_shown_at_their_place() -> None:
    with pytest.raises(ContigError) as caught:
        read(["contigmap.contigs=[5-15/A10-]"])
    assert str(caught.value).splitlines()[0].startswith("contigmap.contigs: a residue number is missing")
    assert caught.value.span is not None and caught.value.span.start == 10
    with pytest.raises(ValueError, match=r"contigmap.contigs is missing"):
        read([]).plan()
