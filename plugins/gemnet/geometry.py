"""The geometry that all interaction blocks of GemNet share: angular bases, and sums over triplets and quadruplets."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.graph import Graph, neighbor_tables, reverse_edges, torsion_tables
from zoo.nn import gather
from zoo.nn.spherical import circular_harmonics, normalised_legendre, planar_powers

COLLINEAR = 0.03
"""sin² of an angle (10°) below which a torsion over it is faded out, since at 0 and π it is undefined."""


class Angles:
    """Sums over b of Y_l0(φ_cab) x_ba for every edge c→a, as one matrix product per atom a."""

    def __init__(self, graph: Graph, cutoff: float | None, num_spherical: int) -> None:
        near = neighbor_tables(graph, cutoff=cutoff)
        self.edge, self.slot = near.edge, near.slot
        self.degrees = num_spherical
        unit = _unit(graph, near.edge)
        self.rows, self.harmonics = [], []
        for table in near.tables:
            u = gather(unit, table.row.flatten()).view(*table.row.shape, 3)
            cos = u @ u.transpose(1, 2)
            harmonics = circular_harmonics(cos, num_spherical, table.pairs.to(cos.dtype))
            self.rows.append(table.row.flatten())
            # (A, K·L, K): every edge c→a has a row per degree l, and a column per edge b→a.
            self.harmonics.append(torch.stack(harmonics, dim=2).flatten(1, 2))

    @property
    def empty(self) -> bool:
        return not self.rows

    def to_slots(self, x: Tensor) -> Tensor:
        """Rows by edge, (E', …), to rows by slot."""
        return gather(x, _join(self.rows))

    def sums(self, x: Tensor) -> Tensor:
        """(E', C) messages to (slots, L, C)."""
        out = []
        for rows, harmonics in zip(self.rows, self.harmonics, strict=True):
            messages = gather(x, rows).view(harmonics.shape[0], -1, x.shape[1])
            out.append((harmonics @ messages).view(-1, self.degrees, x.shape[1]))
        return _join(out)

    def to_edges(self, x: Tensor) -> Tensor:
        """Rows by slot to rows by edge, (E', …)."""
        return gather(x, self.slot)


class Torsions:
    """Sums over b and d of Y_lm(φ_cab, θ_cabd) x_abd for every edge c→a, without a row per quadruplet.

    In a frame around the axis b→a the harmonic with cos m(θ_c − θ_d) is a sum of products of a factor that depends on c
    and one that depends on d (addition theorem of the cosine). So the sum over d is taken first, once per axis, and the
    sum over b after it: the cost is that of triplets. The terms with d = c, which the paper leaves out, are subtracted.
    """

    def __init__(self, graph: Graph, cutoff: float, cutoff_interaction: float, num_spherical: int) -> None:
        tables = torsion_tables(graph, cutoff=cutoff, cutoff_interaction=cutoff_interaction)
        self.edge, self.slot, self.axis = tables.ends.edge, tables.ends.slot, tables.axes.edge
        self.degrees = num_spherical
        self.l = [l for m in range(num_spherical) for l in range(m, num_spherical)]
        end_unit, frame = _unit(graph, self.edge), _frames(graph, self.axis)
        self.end_rows, self.axis_rows, self.shapes, planes = [], [], [], []
        for ends, axes in zip(tables.ends.tables, tables.axes.tables, strict=True):
            u = gather(end_unit, ends.row.flatten()).view(*ends.row.shape, 3)
            f = gather(frame, axes.row.flatten()).view(*axes.row.shape, 3, 3)
            planes.append([u @ f[:, :, k].transpose(1, 2) for k in range(3)])
            self.end_rows.append(ends.row.flatten())
            self.axis_rows.append(axes.row.flatten())
            self.shapes.append((ends.row.shape[0], ends.row.shape[1], axes.row.shape[1]))
        # Powers are made by the axis a→b, 2L − 1 rows each, and read by b→a, in the order (power, axis).
        power = torch.arange(2 * num_spherical - 1, device=tables.opposite.device)[:, None]
        self.power_rows = [
            (tables.opposite[table.row][:, None] * (2 * num_spherical - 1) + power).flatten()
            for table in tables.axes.tables
        ]
        self.pairs = [table.pairs for table in tables.tables]
        if not self.empty:
            self.closing = [table.closing.flatten() for table in tables.tables]
            self._factors_of_d(planes)
            self._factors_of_c(planes, [table.closed for table in tables.tables])

    def _factors_of_d(self, planes: list[list[Tensor]]) -> None:
        """Factors of d→b around the axis a→b: Y_l0(φ_abd), (pairs, L), and powers of its direction (A·M, 2L − 1, K)."""
        self.circular, self.powers, far = [], [], []
        for pairs, (x, y, z) in zip(self.pairs, planes, strict=True):
            harmonics = circular_harmonics(z, self.degrees, pairs.to(z.dtype))
            self.circular.append(torch.stack([h.transpose(1, 2) for h in harmonics], dim=2))
            fade = _inverse_sine(x * x + y * y)
            x, y = x * fade, y * fade
            real, imaginary = planar_powers(x, y, self.degrees)
            powers = [torch.ones_like(x), *(p for pair in zip(real, imaginary, strict=True) for p in pair)]
            self.powers.append(torch.stack([p.transpose(1, 2) for p in powers], dim=2).flatten(0, 1))
            far.append(torch.stack([x.transpose(1, 2), y.transpose(1, 2)], dim=3).flatten(0, 2))
        self._far_direction = _join(far)

    def _factors_of_c(self, planes: list[list[Tensor]], closed: list[Tensor]) -> None:
        """Factors of c→a around the axis b→a, which do not depend on d; and the terms with c = d."""
        self.harmonics, self.triangle = [], []
        for k, (x, y, z) in enumerate(planes):
            legendre = normalised_legendre(z, self.degrees, self.pairs[k].to(z.dtype))
            real, imaginary = planar_powers(x, y, self.degrees)
            blocks = [torch.stack(legendre[0], dim=2).flatten(1, 2)]
            for m in range(1, self.degrees):
                parts = [q * part for q in legendre[m] for part in (real[m - 1], imaginary[m - 1])]
                width = 2 * x.shape[2]
                blocks.append(torch.stack(parts, dim=2).view(x.shape[0], -1, width))
            self.harmonics.append(blocks)
            # For c = d the two directions around the axis agree, and the product of powers is a power of the product.
            d = gather(self._far_direction, self.closing[k]).view(*x.shape, 2)
            product = x * d[..., 0] + y * d[..., 1]
            power = -closed[k].to(x.dtype)
            parts = []
            for m in range(self.degrees):
                parts += [q * power for q in legendre[m]]
                power = power * product
            self.triangle.append(torch.stack(parts, dim=2).flatten(0, 1))
        del self._far_direction

    @property
    def empty(self) -> bool:
        return self.edge.shape[0] == 0 or self.axis.shape[0] == 0

    def circular_basis(self, basis: Tensor) -> list[Tensor]:
        """CBF(x_ab, φ_abd) of every pair: Y_l0 times the projected radial basis (axes, I, L) → (A·M, K, I) a table."""
        out = []
        for rows, circular, (atoms, _, axes) in zip(self.axis_rows, self.circular, self.shapes, strict=True):
            harmonics = circular.view(atoms * axes, self.degrees, -1)
            out.append(torch.bmm(harmonics.transpose(1, 2), gather(basis, rows).transpose(1, 2)))
        return out

    def to_slots(self, x: Tensor) -> Tensor:
        """Rows by end, (E', …), to rows by slot."""
        return gather(x, _join(self.end_rows))

    def products(self, x: Tensor, circular: list[Tensor]) -> list[Tensor]:
        """Messages (E', C) by end d→b times their weights (A·M, K, C) by pair: the same shape."""
        out = []
        for rows, weight, (atoms, ends, axes) in zip(self.end_rows, circular, self.shapes, strict=True):
            m = gather(x, rows).view(atoms, 1, ends, -1) * weight.view(atoms, axes, ends, -1)
            out.append(m.flatten(0, 1))
        return out

    def rows_of_pairs(self, products: list[Tensor]) -> Tensor:
        """The rows of ``products`` that belong to two edges, (pairs, C)."""
        tables = zip(products, self.shapes, self.pairs, strict=True)
        return torch.cat([p.unflatten(0, (s[0], s[2]))[pairs.transpose(1, 2)] for p, s, pairs in tables])

    def sums(self, products: list[Tensor]) -> Tensor:
        """``products`` of the messages by d→b and a→b to (slots, L(L+1)/2, C) by end c→a."""
        channels = products[0].shape[2]
        sums = [torch.bmm(powers, m) for powers, m in zip(self.powers, products, strict=True)]
        powers = _join(sums).flatten(0, 1)
        flat = _join([m.flatten(0, 1) for m in products])
        out = []
        for k, (atoms, ends, axes) in enumerate(self.shapes):
            here = gather(powers, self.power_rows[k]).view(atoms, -1, channels)
            parts = []
            for m, harmonics in enumerate(self.harmonics[k]):
                block = here[:, max(2 * m - 1, 0) * axes : (2 * m + 1) * axes]
                parts.append((harmonics @ block).view(atoms * ends, self.degrees - m, channels))
            triangle = gather(flat, self.closing[k]).view(atoms * ends, axes, channels)
            out.append(torch.baddbmm(torch.cat(parts, dim=1), self.triangle[k], triangle))
        return _join(out)

    def to_edges(self, x: Tensor) -> Tensor:
        """Rows by slot to rows by end, (E', …)."""
        return gather(x, self.slot)


def _join(tables: list[Tensor]) -> Tensor:
    return tables[0] if len(tables) == 1 else torch.cat(tables)


def _unit(graph: Graph, edge: Tensor) -> Tensor:
    return gather(graph.edge_vec, edge) / gather(graph.edge_len, edge)[:, None]


def _frames(graph: Graph, edge: Tensor) -> Tensor:
    """(axes, 3, 3) frames with rows e₁, e₂ ⊥ axis, shared by both directions, and the axis.

    Branchless construction of Duff et al. 2017, JCGT 6(1). The result never depends on the choice of e₁.
    """
    reverse = gather(reverse_edges(graph), edge)
    # The same vector for both directions bit for bit; rounding could otherwise give them different frames.
    x, y, z = _unit(graph, torch.minimum(edge, reverse)).unbind(1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], dim=1)
    second = torch.stack([b, sign + y * y * a, -y], dim=1)
    return torch.stack([first, second, _unit(graph, edge)], dim=1)


def _inverse_sine(square: Tensor) -> Tensor:
    """1/√t for t ≥ ``COLLINEAR``, continued below by its Taylor polynomial there: three continuous derivatives."""
    u = square / COLLINEAR - 1.0
    low = 1.0 - u * (0.5 - u * (0.375 - u * 0.3125))
    high = torch.rsqrt(square.clamp(min=COLLINEAR))
    return torch.where(u > 0, high, low * COLLINEAR**-0.5)
