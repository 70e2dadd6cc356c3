"""NequIP (Batzner et al., Nat. Commun. 13, 2453 (2022)) as a backbone of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.graph import Graph
from zoo.nn import BesselBasis, edge_pairs, gather, is_traced
from zoo.plugin import ZooError

from .coupling import SphericalHarmonics
from .cutoffs import CutoffFunction, make_cutoff
from .gate import Moments
from .irreps import Group, Irrep, layer_irreps
from .layers import InteractionLayer, LayerOptions
from .neighbors import Neighbors, SlotBlock, arrange

__all__ = ["NequIP"]

_MAX_Z = 118
_MAX_L = 11  # the couplings of e3nn end there
_MAX_LAYERS = 100


class NequIP(nn.Module):
    """Steerable features of degree ≤ ``lmax``, updated by tensor products with the harmonics of edge directions.

    Args:
        cutoff: Å.
        elements: atomic numbers that the model knows; each has its own embedding and self-connection.
        num_layers: interaction layers.
        lmax: highest degree of features and harmonics.
        parity: keep both parities of each degree; otherwise only that of the harmonics, (−1)^l.
        num_features: channels of every irrep, or one number per degree.
        output_lmax: degrees kept after the last layer; the paper keeps scalars (0). 1 adds vectors, for dipoles.
        output_parity: keep both parities of these degrees. Pseudoscalars (0o), which change sign under a reflection,
            distinguish a chiral molecule from its mirror image.
        num_bessel, trainable_bessel: radial basis sin(nπd/c)·2/(cd).
        radial_gain: constant factor of that basis. With the paper's 1 the messages of a new model are a tenth of the
            unit scale that its normalisations assume, and vectors fade layer by layer; 6 keeps them for molecules at
            a cut-off of 5 Å, 12 makes them grow.
        envelope_exponent: p of the polynomial cut-off.
        radial_depth, radial_width: hidden layers of the radial network.
        avg_num_neighbors: sums over neighbours are divided by its root; refitted by :meth:`fit_constants`.
        type_features: width of a learned embedding that serves as the atoms' attributes in the self-connections;
            ``None`` is the paper's one-hot element.
        first_self_connection: whether the first layer has a self-connection too.

    Options of relatives of NequIP with published weights, SevenNet (Park et al. 2024) and Nequix (Koker et al. 2025):

    Args:
        group: "SO3" couples irreps by rotations alone: more paths, and mirror images get different energies. SevenNet.
        input: features of the first layer: an "embedding" per element, or the "one-hot" element itself (Nequix).
        self_connection: a matrix for each "element", or one "linear" map for all. Both.
        scalar_bias: a constant added to the even scalars by the linear maps around each convolution. SevenNet's
            modalities come down to this once one of them is chosen.
        rms_norm: normalise the features before each gate. Nequix.
        activation_moments: "samples" of e3nn, or "quantiles" of e3nn-jax; see :class:`.gate.Gate`. Nequix.
        normalize_harmonics: of unit vectors; otherwise Y_l grows as d^l. SevenNet-0 of May 2024.
        cutoff_function: "polynomial" or "xplor", the latter from ``cutoff_onset`` on, with a continuous first
            derivative only. SevenNet.

    Raises:
        ZooError: inconsistent degrees or multiplicities, or no element given.
    """

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        elements: Sequence[int] = (1, 6, 7, 8, 9),
        num_layers: PositiveInt = 4,
        lmax: NonNegativeInt = 2,
        parity: bool = True,
        num_features: PositiveInt | Sequence[NonNegativeInt] = 32,
        output_lmax: NonNegativeInt = 0,
        output_parity: bool = False,
        num_bessel: PositiveInt = 8,
        trainable_bessel: bool = False,
        radial_gain: PositiveFloat = 1.0,
        envelope_exponent: PositiveInt = 6,
        radial_depth: NonNegativeInt = 1,
        radial_width: PositiveInt = 64,
        avg_num_neighbors: PositiveFloat = 16.0,
        type_features: int | None = None,
        first_self_connection: bool = True,
        group: Group = "O3",
        input: Literal["embedding", "one-hot"] = "embedding",
        self_connection: Literal["element", "linear"] = "element",
        scalar_bias: bool = False,
        rms_norm: bool = False,
        activation_moments: Moments = "samples",
        normalize_harmonics: bool = True,
        cutoff_function: CutoffFunction = "polynomial",
        cutoff_onset: float | None = None,
    ) -> None:
        super().__init__()
        if not (0 <= lmax <= _MAX_L and num_layers <= _MAX_LAYERS):
            raise ZooError(f"lmax = {lmax}, num_layers = {num_layers}: out of range. "
                           f"Fix: choose lmax between 0 and {_MAX_L}, and at most {_MAX_LAYERS} layers")
        per_degree = [num_features] * (lmax + 1) if isinstance(num_features, int) else list(num_features)
        _check(per_degree, lmax, output_lmax, num_layers, elements)
        _check_relatives(group, parity or output_parity, input, type_features, self_connection)
        self.cutoff = cutoff
        self.elements = list(elements)
        self.one_hot = type_features is None
        self.normalize_harmonics = normalize_harmonics
        irreps = layer_irreps(
            per_degree, num_layers=num_layers, lmax=lmax, parity=parity, output_lmax=output_lmax,
            output_parity=output_parity, group=group,
        )
        irreps[0] = {Irrep(0, 1): len(self.elements) if input == "one-hot" else type_features or per_degree[0]}
        self.irreps_out = "+".join(f"{mul}x{irrep}" for irrep, mul in irreps[-1].items())

        self.bessel = BesselBasis(num_bessel, cutoff, scale=2 * radial_gain / cutoff, trainable=trainable_bessel)
        self.envelope = make_cutoff(cutoff_function, cutoff, p=envelope_exponent, onset=cutoff_onset)
        self.harmonics = SphericalHarmonics(lmax)
        self.embedding = None if input == "one-hot" else nn.Embedding(len(self.elements), irreps[0][Irrep(0, 1)])
        options = LayerOptions(
            lmax=lmax,
            num_bessel=num_bessel,
            radial_width=radial_width,
            radial_depth=radial_depth,
            num_attributes=len(self.elements) if type_features is None else type_features,
            group=group,
            self_connection=self_connection,
            scalar_bias=scalar_bias,
            rms_norm=rms_norm,
            activation_moments=activation_moments,
        )
        self.layers = nn.ModuleList(
            InteractionLayer(irreps_in, irreps_out, options, self_connection=first_self_connection or k > 0)
            for k, (irreps_in, irreps_out) in enumerate(pairwise(irreps))
        )
        type_of = torch.full((_MAX_Z + 1,), -1)
        type_of[torch.tensor(self.elements)] = torch.arange(len(self.elements))
        self.register_buffer("type_of", type_of, persistent=False)
        self.register_buffer("avg_num_neighbors", torch.tensor(float(avg_num_neighbors)))

    @torch.no_grad()
    def fit_constants(self, graph: Graph) -> None:
        """Set ``avg_num_neighbors`` to the mean over the atoms of a large batch of training structures."""
        if graph.num_edges:
            self.avg_num_neighbors.fill_(graph.num_edges / graph.num_nodes)

    def forward(self, graph: Graph) -> Tensor:
        """Features (N, dim(irreps_out)), in e3nn's component order."""
        types = self._types(graph.z)
        neighbors, order = self._neighbors(graph)
        if order is not None:
            types = types.index_select(0, order)
        one_hot = F.one_hot(types, len(self.elements)).to(graph.edge_len.dtype)
        embedded = one_hot if self.embedding is None else self.embedding(types)
        attributes = one_hot if self.one_hot else embedded
        features = {Irrep(0, 1): embedded.unsqueeze(1)}
        scale = self.avg_num_neighbors.rsqrt()
        for layer in self.layers:
            features = layer(features, attributes, neighbors, scale)
        out = torch.cat([x.transpose(1, 2).flatten(1) for x in features.values()], 1)
        return out if order is None else gather(out, torch.argsort(order))

    def _types(self, z: Tensor) -> Tensor:
        types = self.type_of.index_select(0, z)
        # Checked on the CPU only, where it needs no synchronisation; Model checks the card's elements on all devices.
        if not is_traced() and z.device.type == "cpu" and bool((types < 0).any()):
            unknown = sorted(set(z[types < 0].tolist()))
            raise ZooError(f"atomic numbers {unknown} are not among this model's elements {self.elements}. "
                           "Fix: create it with config elements that include them")
        return types

    def _neighbors(self, graph: Graph) -> tuple[Neighbors, Tensor | None]:
        """The edges, with radial functions once per pair; and the order of the atoms that the layers work in."""
        representative, pair = graph.memoize("nequip pairs", lambda: _pairs(graph), edges_only=True)
        length = graph.edge_len if representative is None else gather(graph.edge_len, representative)
        radial = self._radial(length)
        vectors = graph.edge_vec / graph.edge_len[:, None] if self.normalize_harmonics else graph.edge_vec
        harmonics = self.harmonics(vectors)
        if is_traced():
            return Neighbors(graph.source, graph.target, pair, radial, harmonics, None), None
        largest = max(layer.convolution.floats_per_slot for layer in self.layers)
        slots = graph.memoize(("nequip slots", largest), lambda: _slots(graph, pair, largest), edges_only=True)
        # Empty slots refer to an extra edge E with zero harmonics, so that its atoms do not matter.
        harmonics = gather(torch.cat([harmonics, harmonics.new_zeros(1, harmonics.shape[1])]), slots.edge)
        return Neighbors(slots.source, slots.atom, slots.pair, radial, harmonics, slots.blocks), slots.order

    def _radial(self, length: Tensor) -> Tensor:
        return self.bessel(length) * self.envelope(length)[:, None]


class _Slots(NamedTuple):
    """Index lists of the layers, by slot except ``order`` (N,) and ``blocks``, see :func:`.neighbors.arrange`."""

    order: Tensor
    atom: Tensor
    edge: Tensor
    source: Tensor
    pair: Tensor
    blocks: list[SlotBlock]


def _slots(graph: Graph, pair: Tensor, floats_per_slot: int) -> _Slots:
    ptr = graph.edge_ptr
    order, atom, edge, blocks = arrange(ptr.diff(), ptr[:-1], floats_per_slot)
    place = torch.argsort(order)
    source = gather(F.pad(place.index_select(0, graph.source), (0, 1)), edge)
    return _Slots(order, atom, edge, source, gather(F.pad(pair, (0, 1)), edge), blocks)


def _pairs(graph: Graph) -> tuple[Tensor | None, Tensor]:
    """One edge of each pair of opposite ones (P,), and each edge's pair (E,); in a directed graph, every edge."""
    edges = torch.arange(graph.num_edges, device=graph.z.device)
    if is_traced():  # the number of pairs depends on the data
        return None, edges
    found = edge_pairs(graph)
    return (None, edges) if found is None else found[1:]


def _check(num_features: list[int], lmax: int, output_lmax: int, num_layers: int, elements: Sequence[int]) -> None:
    if len(num_features) != lmax + 1:
        raise ZooError(f"num_features has {len(num_features)} entries; lmax = {lmax} needs {lmax + 1}, one per degree. "
                       "Fix: give one number, or one per degree")
    if not 0 <= output_lmax <= lmax:
        raise ZooError(f"output_lmax = {output_lmax} is out of range. Fix: choose it between 0 and lmax = {lmax}")
    if num_layers < 1:
        raise ZooError(f"num_layers = {num_layers} leaves no interaction layer. Fix: set it to 1 or more")
    if not elements or len(set(elements)) < len(elements) or not all(1 <= z <= _MAX_Z for z in elements):
        raise ZooError(f"elements = {list(elements)} are not distinct atomic numbers. "
                       f"Fix: list each once, between 1 and {_MAX_Z}")


def _check_relatives(group: str, parity: bool, input: str, type_features: int | None, self_connection: str) -> None:
    """
    Raises:
        ZooError: an unknown option, or two that exclude each other.
    """
    for name, value, known in (
        ("group", group, ("O3", "SO3")),
        ("input", input, ("embedding", "one-hot")),
        ("self_connection", self_connection, ("element", "linear")),
    ):
        if value not in known:
            raise ZooError(f"{name} = {value!r} is unknown. Fix: use {' or '.join(known)}")
    if group == "SO3" and parity:
        raise ZooError("irreps of SO3 have no parity. Fix: set parity and output_parity to false, or group to O3")
    if input == "one-hot" and type_features is not None:
        raise ZooError("a one-hot input has no type_features. Fix: leave out type_features, or set input to embedding")
