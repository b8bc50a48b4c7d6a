use super::*;

const BINDING: Digest = Digest([7; 32]);
const OTHER: Digest = Digest([8; 32]);

#[test]
fn a_new_agent_takes_the_next_free_slot() {
    assert_eq!(ChainStanding::default().step(), EnrolmentStep::Enrol(SlotChoice::NextFree));
}

#[test]
fn an_enrolled_agent_is_held_to_its_record() {
    let standing = ChainStanding::default().enrolled(Slot(3), BINDING);
    assert_eq!(standing.step(), EnrolmentStep::Hold { binding: BINDING });
}

#[test]
fn a_retired_agent_comes_back_to_its_own_slot_with_any_record() {
    let standing = ChainStanding::default().enrolled(Slot(3), BINDING).retired();
    assert_eq!(standing.step(), EnrolmentStep::Enrol(SlotChoice::Own(Slot(3))));
    assert_eq!(standing.enrolled(Slot(3), OTHER).step(), EnrolmentStep::Hold { binding: OTHER });
}

#[test]
fn a_retire_without_an_enrol_changes_nothing() {
    assert_eq!(ChainStanding::Absent.retired(), ChainStanding::Absent);
    let retired = ChainStanding::Absent.enrolled(Slot(1), BINDING).retired();
    assert_eq!(retired.retired(), retired);
}
