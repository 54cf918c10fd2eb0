//! Golden values of one OneBP step, evaluated in f64 outside this program: W_u = sin(0.7(4b+c)+0.1), W_v =
//! sin(1.1(4j+c)+0.4), u = 0,1,0, i = 0,1,2, negatives (1,3),(0,4),(3,4), T 1, first Adam step with lr 0.01, beta 0.9.

use super::*;

#[test]
fn one_bp_step() {
    let tables = Tables {
        users: table(2, 4, |r, c| (0.7 * (4 * r + c) as f64 + 0.1).sin()),
        items: table(5, 4, |r, c| (1.1 * (4 * r + c) as f64 + 0.4).sin()),
        score: Score::Product,
    };
    let batch = Batch::new(vec![0, 1, 0], vec![0, 1, 3, 1, 0, 4, 2, 3, 4], vec![1.0; 3], (2, 5));
    for rig in rigs() {
        for (duplicates, user_0) in [
            (Duplicates::Last, [0.11313907, 0.56985190, 0.80681264, 0.72201457]),
            (Duplicates::Sequential, [0.13830171, 0.59596440, 0.76433321, 0.60246464]),
            (Duplicates::Mean, [0.12046549, 0.65811094, 0.87855413, 0.69883886]),
        ] {
            let hyper = Hyperparameters { duplicates, ..hyper() };
            let (after, loss) = step(Method::ONE_BP, &hyper, &tables, &batch, &rig);
            let what = format!("{}, {duplicates:?}", rig.description);
            assert!((loss - 1.98558689).abs() < 2e-6, "{what}: loss {loss}");
            let item_2 = [0.23288991, -0.75768581, -0.90932853, -0.05632190];
            assert_close(after.items.row(2), &item_2, 2e-6, &what);
            assert_close(after.users.row(0), &user_0, 2e-6, &what);
            let user_1 = [0.11670794, -0.43665607, -0.75985068, -0.76704287];
            assert_close(after.users.row(1), &user_1, 2e-6, &what);
        }
    }
}
