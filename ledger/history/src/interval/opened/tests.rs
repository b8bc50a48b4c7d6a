use super::*;

const AGENT: Digest = Digest([1; 32]);

fn run(quotes: u64, first: u64, last: u64) -> Aggregate {
    Aggregate { quotes, first, last, max_gap: last.saturating_sub(first), ..Aggregate::NONE }
}

fn pruned(of: &Aggregate) -> Vec<u8> {
    let mut out = Vec::new();
    write_pruned(&mut out, of, &AGENT, &AGENT);
    out
}

#[test]
fn sums_that_no_leaves_can_have_are_refused() {
    let good = run(2, 5, 9);
    assert!(read(&pruned(&good), &AGENT, 2, 0).is_ok());
    let wrong = [
        run(3, 5, 9),
        run(2, 9, 5),
        Aggregate { max_gap: 5, ..good },
        Aggregate { fails: 3, ..good },
        Aggregate { resets: 3, ..good },
        Aggregate { late: 3, ..good },
    ];
    for of in wrong {
        let refused = read(&pruned(&of), &AGENT, 2, 0);
        assert!(matches!(refused, Err(MalformedTree::Aggregate { .. })), "{of:?}");
    }
}

#[test]
fn halves_out_of_order_are_refused() {
    let tree = |left: &Aggregate, right: &Aggregate| [vec![OPENED], pruned(left), pruned(right)].concat();
    assert!(read(&tree(&run(2, 5, 9), &run(2, 9, 9)), &AGENT, 4, 0).is_ok());
    let refused = read(&tree(&run(2, 5, 9), &run(2, 8, 9)), &AGENT, 4, 0);
    assert!(matches!(refused, Err(MalformedTree::Order { .. })));
}

#[test]
fn a_boundary_inside_a_pruned_node_is_refused() {
    let tree = pruned(&run(4, 5, 9));
    assert!(read(&tree, &AGENT, 4, 4).is_ok_and(|opened| opened.prefix == Some(opened.root)));
    assert!(matches!(read(&tree, &AGENT, 4, 3), Err(MalformedTree::NotOpened { at: 3, .. })));
}
