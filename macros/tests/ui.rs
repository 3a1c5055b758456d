//! What compiles, and what the compiler says where it does not. `TRYBUILD=overwrite` rewrites the expected texts.

#[test]
fn one_mistake_gives_one_message() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
