from tapir.model.names import parse_name
from tapir.services.sources.suffixes import load_suffix_test


def test_the_list_of_the_package_is_read_once() -> None:
    is_public_suffix = load_suffix_test()
    assert is_public_suffix(parse_name("co.uk"))
    assert not is_public_suffix(parse_name("example.co.uk"))
    assert load_suffix_test() is is_public_suffix
