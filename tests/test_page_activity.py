"""Activity lists who did what to which keys with its outcome, at any size of the window."""

from playwright.sync_api import expect

from conftest import StartServer
from support.page_window import OpenWindow, Window, set_values

ROWS = "#attempts .attempt"


def opened(server: StartServer, open_window: OpenWindow) -> Window:
    """A window on a store of its own, since what was attempted stays."""
    box = server()
    set_values(box, [(f"city.unit{n:02}.level", n) for n in range(50)], actor="loader")
    return open_window(box)


def test_a_command_is_named_with_its_target_and_its_number_of_keys(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = opened(server, open_window)
    box = window.server
    box.post({"type": "rename", "key": "city.", "to": "town."})
    box.post({"type": "rename", "key": "town.unit01.level", "to": "town.first"})
    box.post({"type": "delete_prefix", "prefix": "town."})
    box.post({"type": "delete_prefix", "prefix": "town."})
    window["[data-view=activity]"].click()
    what = window[f"{ROWS} .what"]
    expect(what.nth(0)).to_have_text("delete town.")
    expect(what.nth(1)).to_have_text("delete town. 50 keys")
    expect(what.nth(2)).to_have_text("rename town.unit01.level → town.first")
    expect(what.nth(3)).to_have_text("rename city. → town. 50 keys")
    expect(what.nth(4)).to_have_text("import city. 50 keys")
    expect(window[f"{ROWS} .outcome"].first).to_have_text("nothing to change")
    what.nth(3).get_by_role("button", name="town.").click()
    expect(window["#about h1"]).to_have_text("town.")


def test_sources_are_left_out_until_chosen_and_one_actor_can_be_chosen(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = opened(server, open_window)
    window.server.set("computer.cpu", 1, actor="computer")
    window.server.set("lamp", 1, actor="hand.py")
    window["[data-view=activity]"].click()
    rows = window[ROWS]
    expect(rows).to_have_count(2)
    window.page.get_by_label("with sources").check()
    expect(rows).to_have_count(3)
    rows.nth(1).get_by_role("button", name="computer", exact=True).click()
    expect(rows).to_have_count(1)
    expect(window["#activity .chip"]).to_contain_text("by computer")
    window["#activity .chip"].click()
    expect(rows).to_have_count(2)


def test_rejections_are_counted_since_activity_was_last_open(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = opened(server, open_window)
    activity = window["[data-view=activity]"]
    window.server.post({"type": "set", "key": "not..a..key", "value": 1})
    expect(activity).to_contain_text("1 rejected")
    activity.click()
    expect(activity).to_have_text("Activity")
    window["#tree"].get_by_text("All").click()
    window.server.post({"type": "set", "key": "not..a..key", "value": 2})
    expect(activity).to_contain_text("1 rejected")
    window.page.reload()
    expect(activity).to_contain_text("1 rejected")


def test_what_was_rejected_before_a_window_logs_in_is_not_new(
    server: StartServer, open_window: OpenWindow
) -> None:
    box = server()
    box.post({"type": "set", "key": "not..a..key", "value": 1})
    activity = open_window(box)["[data-view=activity]"]
    expect(activity).to_have_text("Activity")
    box.post({"type": "set", "key": "not..a..key", "value": 2})
    expect(activity).to_contain_text("1 rejected")


def test_the_arrow_keys_choose_which_attempts_are_listed(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = opened(server, open_window)
    window["[data-view=activity]"].click()
    window.page.get_by_role("radio", name="All").focus()
    window.press("ArrowRight")
    expect(window.page.get_by_role("radio", name="Rejected")).to_be_checked()
    expect(window["#attempts"]).to_have_text("Nothing was rejected.")


def test_the_whole_reason_of_a_rejection_is_shown_when_it_is_pressed(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = opened(server, open_window)
    window.server.post({"type": "set", "key": "not..a..key", "value": 1})
    window["[data-view=activity]"].click()
    reason = window[f"{ROWS} [data-do=expand]"].first
    cut = "button => button.scrollWidth > button.clientWidth"
    assert reason.evaluate(cut)
    reason.focus()
    window.press("Enter")
    expect(reason).to_have_attribute("aria-expanded", "true")
    assert not reason.evaluate(cut)
    window.server.set("lamp", 1)
    expect(window[ROWS]).to_have_count(3)
    expect(reason).to_have_attribute("aria-expanded", "true")


def test_no_part_of_an_attempt_is_cut_without_a_sign_in_small_windows(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = opened(server, open_window)
    long = "a-rather-long-prefix.with-a-long-key-below-it-that-fits-nowhere"
    window.server.post({"type": "set", "key": long, "value": 1, "expect": "present"})
    window.server.set(long, 1, actor="an-actor-with-a-rather-long-name.py")
    window["[data-view=activity]"].click()
    expect(window[ROWS]).to_have_count(3)
    for width, height in ((1280, 800), (1000, 700), (700, 500), (640, 420)):
        window.page.set_viewport_size({"width": width, "height": height})
        cut = "e => e.filter(e => e.scrollWidth > e.clientWidth).map(e => e.className)"
        assert window[f"main, #activity .bar, #activity .scroll, {ROWS}"].evaluate_all(cut) == []
        assert window[f"{ROWS} .outcome"].first.is_visible()
