"""Which part of a tree its references need."""

from worldtune.config.references import part_referred_to

TREE = {"a": "${b.c}/x", "b": {"c": "${d}", "e": 1}, "d": 5, "f": {"g": "${b}"}, "h": 0}


def test_only_what_is_referred_to_is_needed():
    assert part_referred_to(TREE, [(("a",), "${b.c}/x")]) == {
        "a": "${b.c}/x",
        "b": {"c": "${d}"},
        "d": 5,
    }


def test_a_reference_to_a_section_needs_all_of_it():
    part = part_referred_to(TREE, [(("f", "g"), "${b}")])

    assert part == {"f": {"g": "${b}"}, "b": {"c": "${d}", "e": 1}, "d": 5}


def test_references_in_a_circle_end():
    tree = {"a": "${b}", "b": "${a}", "c": 1}

    assert part_referred_to(tree, [(("a",), "${b}")]) == {"a": "${b}", "b": "${a}"}


def test_a_reference_that_is_not_plain_needs_the_whole_tree():
    for odd in ("${.c}", "${b.${d}}", "${gone}", "${b[c]}", "${oc.env:HOME}"):
        assert part_referred_to(TREE, [(("a",), odd)]) is TREE
