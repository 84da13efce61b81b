# steadytext.batch_window: embeddings of several sessions share a message, and nobody's answer tells.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster;
my $stat   = sub { return $cluster->ask_daemon('stats') =~ /"$_[0]":\s*(\d+)/ ? $1 : 0 };
my $shared = sub { return $cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_shared_sends_total')) };
my $window = sub {
    my ($ms) = @_;
    $cluster->append_conf("steadytext.batch_window = '${ms}ms'");
    $cluster->reload;
    return $cluster->poll_until('SHOW steadytext.batch_window', $ms ? "${ms}ms" : 0);
};
my $embed = sub { my ($text) = @_; return "SELECT md5(steadytext_embed('$text', use_cache => false)::text)" };

# What each of these texts gives when all are asked for at the same time, each by a session of its own: they wait at a gate.
sub embed_together {
    my (@texts) = @_;
    my $gate = $cluster->session;
    $gate->ask('SELECT pg_advisory_lock(1);');
    my @sessions = map { $cluster->session->send('SELECT pg_advisory_lock_shared(1); ' . $embed->($_)) } @texts;
    $cluster->poll_until(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted), scalar @texts);
    $gate->finish;
    return [ map { my $result = $_->finish; $result->{state} || ($result->{out} =~ /(\w+)\s*\z/ ? $1 : '') } @sessions ];
}

# The echo daemon.
{
    $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'" ]);
    my @texts = map { "text $_ \"with\" \\\\ and ü" } 1 .. 12;
    my @alone = map { $cluster->sql($embed->($_)) } @texts;
    is($shared->(), 0, 'without a window nothing is shared');
    $window->(300);
    my ($single, $batches) = ($stat->('embed'), $stat->('embed_batch'));
    is_deeply(embed_together(@texts), \@alone, 'twelve sessions get what they get alone');
    my ($singles, $messages) = ($stat->('embed') - $single, $stat->('embed_batch') - $batches);
    cmp_ok($singles + $messages, '<=', 6, "by $messages shared messages and $singles single ones");
    is($shared->(), $messages, 'which are counted');
    is($cluster->sql($embed->('only one')), $cluster->sql('SELECT md5(embedding::text) FROM steadytext_embed_batch(ARRAY[\'only one\'], false)'), 'one alone is sent alone');

    is_deeply(embed_together('!fault:error=broken', @texts), [ '38000', @alone ], 'a text that breaks the message costs the others nothing');
    is_deeply(embed_together('!fault:truncated', $texts[0]), [ '08P01', $alone[0] ], 'nor one whose answer nobody can read')
        or diag explain $cluster->ask_daemon('stats');

    # Given up: by one of them, then by all.
    my @sessions = map { my $n = $_; $cluster->session->send("SET application_name = 'member$n'; " . $embed->($n == 1 ? '!fault:hold' : $texts[$n])) } 1 .. 4;
    ok($cluster->wait_for(sub { $stat->('in_flight') >= 1 && $cluster->sql('SELECT sum(in_flight) FROM steadytext_daemons') == 4 }), 'four are under way');
    my $cancel = sub { $cluster->sql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name ~ '$_[0]'") };
    $cancel->('member2');
    is($sessions[1]->finish->{state}, '57014', 'one of them is cancelled');
    cmp_ok($stat->('in_flight'), '>=', 1, 'the daemon goes on for the others');
    $cancel->('member');
    is(join(' ', map { $_->finish->{state} } @sessions[ 0, 2, 3 ]), '57014 57014 57014', 'then all');
    ok($cluster->wait_for(sub { $stat->('in_flight') == 0 }, 5), 'and the daemon stops');
    ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'), 0, 2), 'no slot is in use');

    $window->(5);
    my ($before, $before_single) = ($stat->('embed_batch'), $stat->('embed'));
    is($cluster->sql(q(SELECT count(*) FROM steadytext_embed_batch(ARRAY(SELECT 'many ' || i FROM generate_series(1, 500) i), false) b
        WHERE vector_norm(embedding) BETWEEN 0.999 AND 1.001)), 500, 'a batch shares messages too');
    cmp_ok($stat->('embed_batch') - $before + $stat->('embed') - $before_single, '<', 100, 'of many texts each');
    $cluster->discard;
}

# steadytextd: the same bits, whoever shares.
{
    $cluster = SteadyText::Cluster->new(daemon => 'native', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '2min'" ]);
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_models() WHERE role = 'embedding' AND served), 't', 120), 'steadytextd serves embeddings');
    my @texts = ('a', 'The quick brown fox jumps over the lazy dog.', 'short', join(' ', ('A longer text about trains, ships and the sea.') x 12), 'größer als ein Haus', '1 2 3 4 5 6 7 8 9');
    my @alone = map { $cluster->sql($embed->($_)) } @texts;
    $window->(300);
    my $before = $shared->();
    is_deeply(embed_together(@texts), \@alone, 'bit for bit what each gives alone');
    is_deeply(embed_together(reverse @texts), [ reverse @alone ], 'in whatever company');
    cmp_ok($shared->() - $before, '>=', 2, 'in shared messages');
}

done_testing;
