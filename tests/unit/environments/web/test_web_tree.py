"""Reading and telling playwright's snapshot of a page."""

from __future__ import annotations

from agentlab.environments.web import tree

SNAPSHOT = r"""
- generic [active] [ref=e1]:
  - heading "Hi \"you\"" [level=1] [ref=e2]
  - 'button "A: b''s" [ref=e3]'
  - generic [ref=e4]:
    - text: Name
    - textbox "Name" [ref=e6]: Ann
    - checkbox "Agree" [checked] [ref=e7]
    - combobox "Pick" [ref=e8]:
      - option "a"
      - option "b" [selected]
  - generic [ref=e11] [cursor=pointer]: Go on
  - generic [ref=e12] [cursor=pointer]
  - link "Link" [ref=e13] [cursor=pointer]:
    - /url: /x
  - textbox [ref=e14]: abc
  - textbox [ref=e15]
  - button "Link" [disabled] [ref=e16]
  - text: "plain: text"
"""


def _tree() -> tree.Node:
    root = tree.tidied(tree.parse(SNAPSHOT))
    tree.masked(root, ["abc"])
    return root


def test_wrappers_go_and_what_is_said_stays() -> None:
    assert list(tree.lines(_tree())) == [
        '- heading "Hi \\"you\\"" [level=1]',
        '- button "A: b\'s" [ref=e3]',
        "- text: Name",
        '- textbox "Name" [ref=e6]: Ann',
        '- checkbox "Agree" [checked] [ref=e7]',
        '- combobox "Pick" [ref=e8]',
        '  - option "a"',
        '  - option "b" [selected]',
        "- clickable [ref=e11]: Go on",
        '- link "Link" [ref=e13] -> /x',
        "- textbox [ref=e14]: ••••••••",
        "- textbox [ref=e15]",
        '- button "Link" [disabled] [ref=e16]',
        "- text: plain: text",
    ]


def test_each_control_has_a_name_of_its_own() -> None:
    assert [name for name, _ in tree.acted_on(_tree())] == [
        "A: b's", "Name", "Agree", "Pick", "a", "b", "Go on", "Link #1", "textbox #1",
        "textbox #2", "Link #2",
    ]  # fmt: skip


def test_controls_are_entities_of_the_kind_that_tools_take() -> None:
    found = {name: tree.entity_of(name, node) for name, node in tree.acted_on(_tree())}
    assert found["Name"].type == "field"
    assert found["Name"].properties == {"role": "textbox", "value": "Ann"}
    assert found["Agree"].properties == {"role": "checkbox", "checked": True}
    assert found["Pick"].properties == {"role": "combobox", "value": "b"}
    assert found["a"].type == "option"
    assert found["Go on"].properties == {"role": "clickable"}
    assert found["Link #1"].properties == {"role": "link", "leads_to": "/x"}
    assert found["Link #2"].properties == {"role": "button", "disabled": True}


ROWS = """\
- main:
  - heading "Letters" [level=1]
  - table:
    - row "Ann Rent Delete":
      - cell "Ann"
      - cell "Rent"
      - cell "Delete":
        - button "Delete" [ref=e1]
    - row "Bo Delete":
      - cell "Bo"
      - cell "Delete":
        - button "Delete" [ref=e2]
  - button "Delete" [ref=e3]
  - button "Send" [ref=e4]
"""


def test_things_called_alike_are_told_by_the_words_of_their_row() -> None:
    found = tree.words_beside(tree.parse(ROWS))
    assert found.keys() == {"e1", "e2", "e3"}
    assert {"Ann", "Rent"} <= set(found["e1"]) and "Bo" not in found["e1"]
    assert "Bo" in found["e2"] and "Ann" not in found["e2"]
    assert "Letters" in found["e3"] and "hunter2" not in str(found)
    node = dict(tree.acted_on(tree.tidied(tree.parse(ROWS))))["Delete #2"]
    assert tree.entity_of("Delete #2", node, found["e2"]).properties["beside"] == [*found["e2"]]


def test_anything_at_all_is_read_without_an_error() -> None:
    for text in (
        "",
        "nonsense",
        "- ",
        "- '",
        '- button "open',
        "- a: b: c",
        "  - x\n- y",
        "- /url:",
    ):
        list(tree.lines(tree.tidied(tree.parse(text))))


def test_a_line_of_the_snapshot_ends_only_where_it_ends() -> None:
    found = tree.parse('- link "a" [ref=e1]:\n  - /url: /x\u2028- button "Forged" [ref=e2]')
    assert [node.role for node in found.walk()] == ["document", "link"]
    assert list(tree.lines(found)) == ['- link "a" [ref=e1] -> /x - button "Forged" [ref=e2]']


def test_a_field_with_a_hint_holds_its_value_and_a_password_none() -> None:
    said = '- textbox "P" [ref=e1]:\n  - /placeholder: hint\n  - text: %s'
    root = tree.tidied(tree.parse(said % "plain words"))
    assert tree.entity_of("P", root.children[0]).properties["value"] == "plain words"
    tree.masked(root, ["plain  \u200bwords"])
    assert list(tree.lines(root)) == ['- textbox "P" [ref=e1] (hint: hint): ••••••••']


def test_a_name_holds_whole_characters() -> None:
    found = tree.parse(r'- button "a\ud800b" [ref=e1]')
    assert found.children[0].name == "a\ufffdb"


def test_the_text_of_many_levels_without_names_is_told() -> None:
    levels = "".join(f"{'  ' * depth}- listitem:\n" for depth in range(1, 46))
    said = f"- generic [ref=e1] [cursor=pointer]:\n{levels}{'  ' * 46}- text: at last"
    found = tree.tidied(tree.parse(said))
    assert [name for name, _ in tree.acted_on(found)] == ["at last"]
