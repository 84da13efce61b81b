# The four places for callback workers are shared by roles, in the whole server: a role that has callbacks in many databases has no more than its share,
# whoever has no place gets the next one, and nobody waits behind somebody who has his share.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.request_timeout = '15s'", 'max_worker_processes = 30', 'log_min_messages = debug1' ]);
my @roles   = qw(mallory bob carol);
my @hers    = map { "hers$_" } 1 .. 4;
$cluster->sql(join "\n", (map { "CREATE ROLE $_ LOGIN;" } @roles), 'CREATE DATABASE mould;');
$cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE;
    CREATE FUNCTION public.ends(id uuid) RETURNS void LANGUAGE sql AS 'SELECT';
    CREATE FUNCTION public.never_ends(id uuid) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(600)'), database => 'mould');
$cluster->sql(join "\n", map { "CREATE DATABASE $_ TEMPLATE mould;" } @hers, 'fifth');
sub enqueue {
    my ($role, $database, $callback, $count) = @_;
    return $cluster->sql(sprintf(q(SELECT steadytext_enqueue('generate', jsonb_build_object('prompt', '%s ' || i), callback => 'public.%s(uuid)') FROM generate_series(1, %d) i),
        $role, $callback, $count // 1), database => $database, user => $role);
}
sub holds { my ($role) = @_; return $cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext callback worker' AND usename LIKE '$role'") }
sub begun { return scalar(() = $cluster->log =~ /starting background worker process "pg_steadytext callback worker/g) }
sub ended { my ($database) = @_; return $cluster->sql(q(SELECT count(*) FILTER (WHERE callback_state = 'failed') FROM steadytext_queue), database => $database) }
sub is_called {
    my ($id, $database, $what) = @_;
    my ($start, $before) = (time, begun());
    my $done = $cluster->wait_for(sub { $cluster->sql("SELECT callback_state FROM steadytext_queue WHERE request_id = '$id'", database => $database) eq 'done' }, 60);
    my $begun = begun() - $before;
    note sprintf '%s: %.1f s, %d workers begun meanwhile', $what, time - $start, $begun;
    ok($done, $what);
    return cmp_ok($begun, '<=', 4, '  before any of hers has had two turns');
}

# One role's in four databases that nobody else uses; another's in a fifth, and where hers wait.
enqueue('mallory', $_, 'never_ends', 2) for @hers;
ok($cluster->wait_for(sub { holds('mallory') == 3 }), 'a role has three places of four');
is_called(enqueue('bob', 'fifth', 'ends'), 'fifth', 'a callback of another role has the fourth');
is(join(' ', map { ended($_) } @hers), '0 0 0 0', '  before any of hers has ended');
is_called(enqueue('bob', $_, 'ends'), $_, "also in $_, where hers are") for @hers;
cmp_ok(holds('mallory'), '<=', 3, 'of which she has none');

# All are taken, for as long as callbacks may take: who has none has the next.
enqueue('bob', 'fifth', 'never_ends', 2);
ok($cluster->wait_for(sub { holds('mallory') + holds('bob') == 4 }, 30), 'all places are taken');
is_called(enqueue('carol', 'hers4', 'ends'), 'hers4', 'a role that has none has the next place');

# Nobody is forgotten.
ok($cluster->wait_for(sub { !grep { ended($_) < 2 } @hers }, 120), 'all of hers are called in the end') or diag map { "$_: " . ended($_) . "\n" } @hers;
done_testing;
