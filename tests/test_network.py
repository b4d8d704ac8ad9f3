from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackgeo.blocks import ArraySource
from crackgeo.branches import Branches, Nodes, place_branches
from crackgeo.network import (
    chosen_branches,
    find_links,
    join_cracks,
    network_of,
    split_cracks,
    with_links,
)
from crackgeo.pixelgraph import components, prune
from crackgeo.specs import VectorSpec
from crackgeo.thinning import thin


def drawn(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def graph_of(skeleton, radius_px=0.0, factor=0.0, extra_px=0.0):
    keys = np.flatnonzero(skeleton)
    radius = np.full(len(keys), radius_px, np.float32)
    return prune(keys, radius, skeleton.shape[1], factor, extra_px)


def chain(*points):
    """One branch's points, a pixel apart."""
    out = []
    for (x0, y0), (x1, y1) in pairwise(points):
        n = max(2, int(np.hypot(x1 - x0, y1 - y0)) + 1)
        piece = np.stack([np.linspace(x0, x1, n), np.linspace(y0, y1, n)], -1)
        out.append(piece if not out else piece[1:])
    return np.concatenate(out)


def made(chains, nodes, radius_px=1.0):
    """Branches and nodes by hand; `nodes` gives the two node numbers of every chain."""
    xy = np.concatenate(chains)
    lengths = [len(c) for c in chains]
    nodes = np.array(nodes, np.int64)
    count = nodes.max() + 1
    place = np.zeros((count, 2))
    for c, (a, b) in zip(chains, nodes, strict=True):
        place[a], place[b] = c[0], c[-1]
    ones = np.ones(len(xy))
    branches = Branches(
        xy[:, 0].copy(), xy[:, 1].copy(), ones * radius_px, ones * 2 * radius_px,
        np.full(len(xy), 2, np.uint8), ones, np.concatenate([[0], np.cumsum(lengths)]),
        nodes, np.zeros(len(nodes), bool),
    )  # fmt: skip
    degree = np.bincount(nodes.reshape(-1), minlength=count)
    return branches, Nodes(place[:, 0], place[:, 1], degree, np.full(count, radius_px))


def cracks_of(branches, nodes, **rules):
    cracks = join_cracks(branches, nodes, VectorSpec(**rules))
    return [sorted(cracks.branch[a:b].tolist()) for a, b in pairwise(cracks.offsets)]


def test_cross_has_four_branches_at_one_junction():
    skeleton = drawn("..#..", "..#..", "#####", "..#..", "..#..")
    _, graph = graph_of(skeleton)
    assert len(graph.roots) == 4
    branches, nodes, closed = place_branches(graph, np.ones(9, np.float32), 5)
    assert sorted(nodes.degree.tolist()) == [1, 1, 1, 1, 4]
    junction = nodes.degree == 4
    assert (nodes.x[junction][0], nodes.y[junction][0]) == (2.5, 2.5)
    assert not closed.any()
    assert branches.lengths_px.tolist() == [2.0] * 4


def test_corner_touching_junctions_are_one_cluster():
    skeleton = drawn("#...#", ".#.#.", "..#..", "..#..", ".#.#.", "#...#")
    _, graph = graph_of(skeleton)
    assert len(graph.roots) == 4
    junction_roots = [r for r in graph.roots.ravel() if graph.degree[r] > 2]
    assert len(set(junction_roots)) == 1


def test_ring_is_one_closed_branch():
    _, graph = graph_of(drawn(".###.", "#...#", "#...#", ".###."))
    assert graph.roots.tolist() == [[-1, -1]]
    assert graph.pixels[0] == graph.pixels[-1]
    assert len(graph.pixels) == 11


def test_lone_pixel_and_pair():
    _, graph = graph_of(drawn("#....", "...##"))
    assert len(graph.roots) == 1
    assert graph.degree.tolist() == [0, 1, 1]


def test_row_ends_are_no_neighbours():
    skeleton = drawn("..##", "#...")
    assert len(np.unique(components(np.flatnonzero(skeleton), 4))) == 2


def test_spur_goes_and_long_branch_stays():
    skeleton = drawn(
        "...........#........",
        "...........#........",
        "####################",
        "......#.............",
        "......#.............",
        "......#.............",
        "......#.............",
        "......#.............",
    )
    kept, graph = graph_of(skeleton, radius_px=1.0, factor=1.5, extra_px=2.0)
    assert len(graph.roots) == 3
    rows = np.flatnonzero(skeleton)[kept] // 20
    assert rows.min() == 2
    assert rows.max() == 7


def test_of_two_spurs_at_an_end_the_longer_goes_on():
    skeleton = drawn(
        "..............##",
        ".............#..",
        "#############...",
        ".............#..",
    )
    kept, graph = graph_of(skeleton, radius_px=3.0, factor=1.5, extra_px=2.0)
    assert len(graph.roots) == 1
    cols, rows = np.flatnonzero(skeleton)[kept] % 16, np.flatnonzero(skeleton)[kept] // 16
    assert cols.max() == 15
    assert 3 not in rows


@given(st.integers(0, 2**31), st.floats(0.7, 3), st.floats(0.1, 0.9))
@settings(max_examples=40, deadline=None)
def test_branches_hold_every_edge_once(seed, sigma, level):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((60, 70)), sigma)
    skeleton = thin(np.abs(field) < level * field.std()).astype(bool)
    keys = np.flatnonzero(skeleton)
    kept, graph = graph_of(skeleton)
    assert kept.all()
    a, b = graph.pixels[:-1], graph.pixels[1:]
    within = np.ones(len(a), bool)
    within[graph.offsets[1:-1] - 1] = False
    steps = np.stack([np.minimum(a, b), np.maximum(a, b)], -1)[within]
    assert len(np.unique(steps, axis=0)) == len(steps)
    hop = np.abs(keys[steps[:, 0]] - keys[steps[:, 1]])
    assert set(hop.tolist()) <= {1, 69, 70, 71}
    inner = graph.degree == 2
    seen = np.zeros(len(keys), bool)
    seen[graph.pixels] = True
    _, count = ndimage.label(skeleton, np.ones((3, 3)))
    assert len(np.unique(components(keys, 70))) == count
    # A pixel of degree 2 is missing only from a loop too small to be one.
    assert (inner & ~seen).sum() <= 7 * (graph.degree > 2).sum()


def test_skan_finds_the_same_branches():
    skan = pytest.importorskip("skan")
    rng = np.random.default_rng(5)
    field = ndimage.gaussian_filter(rng.standard_normal((150, 150)), 5)
    skeleton = thin(np.abs(field) < 0.2 * field.std()).astype(bool)
    _, graph = graph_of(skeleton)
    branches, _, closed = place_branches(
        graph, np.ones(len(graph.keys), np.float32), skeleton.shape[1]
    )
    theirs = skan.Skeleton(skeleton)
    own = branches.lengths_px
    assert own.sum() == pytest.approx(theirs.path_lengths().sum(), rel=0.03)
    assert len(own) <= theirs.n_paths
    assert closed.sum() <= theirs.n_paths


def test_straight_pair_continues_and_the_side_branch_does_not():
    branches, nodes = made(
        [chain((0, 0), (30, 0)), chain((30, 0), (60, 2)), chain((30, 0), (32, 30))],
        [(0, 1), (1, 2), (1, 3)],
    )
    assert sorted(cracks_of(branches, nodes)) == [[0, 1], [2]]


def test_crossing_gives_two_cracks():
    branches, nodes = made(
        [chain((0, 0), (30, 30)), chain((60, 0), (30, 30)), chain((30, 30), (0, 60)),
         chain((30, 30), (60, 60))],
        [(0, 1), (2, 1), (1, 3), (1, 4)],
    )  # fmt: skip
    assert sorted(cracks_of(branches, nodes)) == [[0, 3], [1, 2]]


def test_sharp_turn_is_two_cracks_but_a_gap_always_continues():
    chains = [chain((0, 0), (30, 0)), chain((30, 0), (20, 30)), chain((30, 0), (60, 80))]
    branches, nodes = made(chains, [(0, 1), (1, 2), (1, 3)])
    assert sorted(cracks_of(branches, nodes)) == [[0], [1], [2]]
    branches, nodes = made(chains[:2], [(0, 1), (1, 2)])
    assert cracks_of(branches, nodes) == [[0, 1]]


def test_tail_and_loop_are_two_simple_cracks():
    loop = chain((30, 0), (45, 10), (60, 0), (45, -10), (30, 0))
    branches, nodes = made([chain((0, 0), (30, 0)), loop], [(0, 1), (1, 1)])
    assert sorted(cracks_of(branches, nodes)) == [[0], [1]]


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_no_crack_visits_a_node_twice(seed):
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 100, (12, 2))
    pairs = [tuple(rng.choice(12, 2, replace=rng.random() < 0.05)) for _ in range(25)]
    chains = [chain(places[a], places[a] + [3, 5] if a == b else places[b]) for a, b in pairs]
    branches, nodes = made([*chains, chain(places[11], places[11] + 1)], [*pairs, (11, 11)])
    cracks = join_cracks(branches, nodes, VectorSpec(continue_deg=170))
    assert sorted(cracks.branch.tolist()) == list(range(26))
    for begin, end in pairwise(cracks.offsets):
        visited = []
        for branch, backward in zip(
            cracks.branch[begin:end], cracks.backward[begin:end], strict=True
        ):
            a, b = branches.nodes[branch][::-1] if backward else branches.nodes[branch]
            assert not visited or visited[-1] == a
            visited += [a, b] if not visited else [b]
        body = visited[:-1] if visited[0] == visited[-1] else visited
        assert len(set(body)) == len(body)


def gap_scene(gap, angle_deg=0.0):
    turn = np.radians(angle_deg)
    end = (40 + gap + 40 * np.cos(turn), 40 * np.sin(turn))
    return made([chain((0, 0), (40, 0)), chain((40 + gap, 0), end)], [(0, 1), (2, 3)])


@pytest.mark.parametrize(
    ("gap", "angle_deg", "linked"),
    [(10, 0, True), (29, 20, True), (31, 0, False), (10, 60, False), (10, -30, True)],
)
def test_ends_that_face_each_other_are_linked(gap, angle_deg, linked):
    branches, nodes = gap_scene(gap, angle_deg)
    keys = np.array([10**9])
    links = find_links(branches, nodes, keys, 1000, VectorSpec())
    assert len(links) == linked


def test_link_becomes_a_branch_and_joins_the_networks():
    branches, nodes = gap_scene(10)
    links = find_links(branches, nodes, np.array([10**9]), 1000, VectorSpec())
    codes = np.full((10, 100), 51, np.uint8)
    joined, joined_nodes = with_links(branches, nodes, links, ArraySource(codes))
    assert network_of(branches, 4).tolist() == [0, 1]
    assert network_of(joined, 4).tolist() == [0, 0, 0]
    assert joined.link.tolist() == [False, False, True]
    assert joined.conf[-1] == pytest.approx(51 / 254)
    assert cracks_of(joined, joined_nodes) == [[0, 1, 2]]


def test_a_bridge_is_no_crack_of_its_own_when_a_crack_is_split():
    branches, nodes = gap_scene(10)
    links = find_links(branches, nodes, np.array([10**9]), 1000, VectorSpec())
    joined, nodes = with_links(branches, nodes, links, ArraySource(np.zeros((10, 100), np.uint8)))
    cracks = join_cracks(joined, nodes, VectorSpec())
    whole = split_cracks(cracks, np.array([False]), joined.link)
    assert sorted(whole.branch.tolist()) == [0, 1, 2]
    split = split_cracks(cracks, np.array([True]), joined.link)
    assert sorted(split.branch.tolist()) == [0, 1]
    assert split.offsets.tolist() == [0, 1, 2]


def test_no_link_over_missing_data_or_another_crack():
    branches, nodes = gap_scene(12)
    codes = np.zeros((10, 100), np.uint8)
    codes[:, 45] = 255
    links = find_links(branches, nodes, np.array([10**9]), 100, VectorSpec())
    same, _ = with_links(branches, nodes, links, ArraySource(codes))
    assert len(same) == 2
    between = np.array([0 * 100 + 46])
    assert len(find_links(branches, nodes, between, 100, VectorSpec())) == 0


def test_best_partner_wins():
    branches, nodes = made(
        [chain((0, 0), (40, 0)), chain((52, 1), (90, 1)), chain((60, -8), (90, -30))],
        [(0, 1), (2, 3), (4, 5)],
    )
    links = find_links(branches, nodes, np.array([10**9]), 1000, VectorSpec())
    assert links.tolist() == [[0, 1, 1, 0]]


def test_chosen_branches_count_degrees_anew():
    branches, nodes = made(
        [chain((0, 0), (30, 0)), chain((30, 0), (60, 2)), chain((30, 0), (32, 30))],
        [(0, 1), (1, 2), (1, 3)],
    )
    chosen, chosen_nodes = chosen_branches(branches, nodes, np.array([True, False, True]))
    assert len(chosen) == 2
    assert chosen_nodes.degree.tolist() == [1, 2, 0, 1]
    assert chosen.x[chosen.offsets[1]] == 30
