# Prometheus reads the metrics, from the gateway's listener and through postgres_exporter; an alert fires, reaches Alertmanager,
# and resolves. The listener is small and cannot be held up.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Cluster;
use SteadyText::Monitoring;
use Test::More;
use Time::HiRes qw(time);

my $port    = SteadyText::Monitoring::free_port();
my $listen  = "127.0.0.1:$port";
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.metrics_listen = '$listen'" ]);
$cluster->sql(q(SELECT steadytext_generate('question ' || i % 3) FROM generate_series(1, 9) i; SELECT steadytext_embed('text')));
my $get = sub { return SteadyText::Monitoring::get("http://$listen$_[0]") };

# ---- the listener ----------------------------------------------------------------------------------------------------
{
    ok($cluster->wait_for(sub { $get->('/metrics')->{success} }, 10), 'it answers');
    my $answer = $get->('/metrics');
    like($answer->{headers}{'content-type'}, qr{^text/plain; version=0\.0\.4}, 'as what Prometheus expects');
    like($answer->{content}, qr/^steadytext_requests_total 10$/m, 'with what is counted');
    my @names = map { /^(steadytext_\w+)/ ? $1 : () } split /\n/, $answer->{content};
    my %seen  = map { $_ => 1 } @names;
    my @sql   = split /\n/, $cluster->sql('SELECT DISTINCT name FROM steadytext_metrics()');
    is_deeply([ sort keys %seen ], [ sort @sql ], 'the same as steadytext_metrics()');
    ok($seen{$_}, $_) for qw(steadytext_requests_total steadytext_requests_failed_total steadytext_cache_hits_total steadytext_cache_misses_total
        steadytext_daemon_connections_active steadytext_response_time_seconds_bucket);
    is($get->('/')->{status}, 404, 'nothing else');
    is(HTTP::Tiny->new->post("http://$listen/metrics")->{status}, 405, 'only GET');
}

# docs/metrics.md says of each metric what the server says of it; STEADYTEXT_WRITE_METRICS=1 writes the page anew.
{
    my $text = $cluster->sql('SELECT steadytext_prometheus()');
    my %labels;  # of a family: its labels; of a label: its values
    for my $sample ($text =~ /^(steadytext_[^ ]+) /mg) {
        my ($name, $inside) = $sample =~ /^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})?$/;
        while (($inside // '') =~ /(\w+)="([^"]*)"/g) {
            my ($label, $value) = ($1, $2);
            next if $label eq 'le';
            push @{ $labels{$name} }, $label unless grep { $_ eq $label } @{ $labels{$name} };
            push @{ $labels{$label} }, "`$value`" unless grep { $_ eq "`$value`" } @{ $labels{$label} };
        }
    }
    my $page = "# Metrics\n\nAll that `steadytext_metrics()`, `steadytext_prometheus()` and the listener give, as the server itself describes it; how to read it: "
        . "[monitoring.md](monitoring.md).\n\n| metric | type | labels | |\n|---|---|---|---|\n";
    while ($text =~ /^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$/mg) {
        $page .= "| `$1` | $3 | " . join(', ', @{ $labels{$1} // [] }) . " | $2 |\n";
    }
    $page .= "\nA histogram has the series `_bucket` (by `le`), `_sum` and `_count`. Labels have these values:\n\n| label | values |\n|---|---|\n";
    my %said = (daemon => 'an endpoint of `steadytext.daemons`, or that of the embedded daemon', version => 'the version of the loaded library');
    $page .= "| $_ | " . ($said{$_} // join ', ', @{ $labels{$_} }) . " |\n" for grep { !/^steadytext_/ } sort keys %labels;
    my $path = "$SteadyText::Cluster::ROOT/docs/metrics.md";
    if ($ENV{STEADYTEXT_WRITE_METRICS}) { open my $file, '>', $path or die "$path: $!"; print {$file} $page }
    open my $file, '<', $path or die "$path: $!";
    is(do { local $/; <$file> }, $page, 'docs/metrics.md describes every metric there is');
}

# Peers that connect and say nothing, little, too much or nonsense: others are served, and the gateway does its work.
{
    my $connect = sub { IO::Socket::INET->new(PeerAddr => $listen, Timeout => 5) };
    my @silent = map { $connect->() } 1 .. 5;
    my ($slow, $much, $odd) = map { $connect->() } 1 .. 3;
    print {$slow} 'GET /met';
    $slow->flush;
    print {$much} 'GET /metrics HTTP/1.1' . "\r\nX: " . 'x' x 6000;
    $much->flush;
    print {$odd} "\0\1\2\r\n\r\n";
    $odd->flush;
    like(scalar <$much>, qr{^HTTP/1.1 431 }, 'too much is refused');
    like(scalar <$odd>, qr{^HTTP/1.1 400 }, 'nonsense too');
    close $_ for $much, $odd;
    my $start = time;
    is($cluster->sql(q(SELECT count(steadytext_generate('meanwhile ' || i, use_cache => false)) FROM generate_series(1, 100) i)), 100, 'calls are served meanwhile');
    ok($cluster->wait_for(sub { $get->('/metrics')->{success} }, 20), 'others are answered');
    ok($cluster->wait_for(sub { !grep { my $peer = $_; $peer->blocking(0); defined sysread($peer, my $byte, 1) ? 0 : 1 } @silent, $slow }, 20),
        'whoever says nothing for five seconds is hung up on');
    my @many = map { $connect->() } 1 .. 12;
    print {$_} "GET /metrics HTTP/1.1\r\n\r\n" for grep { $_ } @many;
    $_->flush for grep { $_ } @many;
    my $answered = grep { $_ && do { my $line = <$_>; defined $line && $line =~ /200 OK/ } } @many;
    is($answered, 12, 'more at once than it has connections: in turn');
}

# Many peers that say nothing, and as many that have their answer and stay: they give way to a scrape, which Prometheus gives up after 10 s.
{
    my $connect = sub { IO::Socket::INET->new(PeerAddr => $listen, Timeout => 5) };
    local $SIG{PIPE} = 'IGNORE';
    my @idle;
    for my $asks (0, 1) {
        push @idle, map { $connect->() } 1 .. 40;
        if ($asks) { print {$_} "GET /metrics HTTP/1.1\r\n\r\n" and $_->flush for grep { $_ } @idle[-40 .. -1] }
        my $start = time;
        ok($get->('/metrics')->{success}, $asks ? 'a scrape beside 40 that stay' : 'a scrape beside 40 that say nothing');
        my $took = time - $start;
        cmp_ok($took, '<', 4, sprintf '  answered in %.1f s', $took);
    }
}

# Where it listens changes with a reload; a port that is taken is said so, and costs nothing else.
{
    my $other = SteadyText::Monitoring::free_port();
    $cluster->sql("ALTER SYSTEM SET steadytext.metrics_listen = '127.0.0.1:$other'; SELECT pg_reload_conf()");
    ok($cluster->wait_for(sub { SteadyText::Monitoring::get("http://127.0.0.1:$other/metrics")->{success} }, 10), 'it moves');
    ok(!$get->('/metrics')->{success}, 'and listens there no longer');
    my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
    $cluster->sql(sprintf q(ALTER SYSTEM SET steadytext.metrics_listen = '127.0.0.1:%d'; SELECT pg_reload_conf()), $taken->sockport);
    ok($cluster->wait_for(sub { $cluster->log =~ /could not listen at steadytext.metrics_listen .* in use/ }, 10), 'a taken port is logged');
    is($cluster->sql(q(SELECT steadytext_generate('still served', use_cache => false))), 'still served', 'and calls are served');
    for my $bad ('localhost:9188', '127.0.0.1:80', '127.0.0.1', '[::1:9188', 'x' x 300) {
        is($cluster->try_sql("ALTER SYSTEM SET steadytext.metrics_listen = '$bad'")->{state}, length $bad > 127 ? '54000' : '22023', 'refused: ' . substr $bad, 0, 20);
    }
    $cluster->sql('ALTER SYSTEM RESET steadytext.metrics_listen; SELECT pg_reload_conf()');
    ok($cluster->wait_for(sub { $get->('/metrics')->{success} }, 10), 'back where it was');
}

# ---- with Prometheus, Alertmanager and postgres_exporter ---------------------------------------------------------------
SKIP: {
    skip 'prometheus and its company are not installed', 1 unless SteadyText::Monitoring::available();
    my $root = $SteadyText::Cluster::ROOT;
    my $text = $cluster->sql('SELECT steadytext_prometheus()');
    my $output;
    ok(IPC::Run::run([qw(promtool check metrics)], '<', \"$text\n", '>&', \$output), 'promtool check metrics') or diag $output;
    ok(IPC::Run::run([ qw(promtool check rules), "$root/monitoring/prometheus/steadytext.rules.yml" ], '<', \undef, '>&', \$output), 'promtool check rules') or diag $output;
    ok(IPC::Run::run([ qw(promtool test rules), "$root/monitoring/prometheus/steadytext.rules.test.yml" ], '<', \undef, '>&', \$output), 'promtool test rules') or diag $output;
    ok(IPC::Run::run([ qw(promtool check config), "$root/monitoring/prometheus/prometheus.yml" ], '<', \undef, '>&', \$output), 'promtool check config') or diag $output;
    ok(IPC::Run::run([ qw(amtool check-config), "$root/monitoring/alertmanager/alertmanager.yml" ], '<', \undef, '>&', \$output), 'amtool check-config') or diag $output;

    $cluster->sql('CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
    my $monitoring = SteadyText::Monitoring->new;
    $monitoring->start_alertmanager;
    $monitoring->start_exporter($cluster);
    $monitoring->start_prometheus($listen);
    my @routes = ('job="steadytext"', 'job="postgres"');
    for my $route (@routes) {
        ok($cluster->wait_for(sub { ($monitoring->query("steadytext_daemon_up{$route}"))[0] // 0 }, 60), "scraped: $route")
            or diag $monitoring->log('prometheus'), $monitoring->log('exporter');
    }
    ok($cluster->wait_for(sub { my @both = $monitoring->query('count by (__name__, operation, outcome) (steadytext_outcomes_total) == 2'); @both == 42 }, 20), 'both say the same of outcomes');

    # The daemon is killed: the alert fires within 30 s, and Alertmanager tells the pager; it comes back: resolved.
    my $start = time;
    kill 'KILL', $cluster->echo_pid;
    ok($cluster->wait_for(sub { grep { $_ eq 'SteadyTextDaemonDown' } $monitoring->firing }, 60), 'the alert fires');
    my $took = time - $start;
    cmp_ok($took, '<', 30, sprintf 'within 30 s of the kill (%.1f s)', $took);
    ok($cluster->wait_for(sub { grep { $_ eq 'SteadyTextDaemonDown' } $monitoring->alerts }, 30), 'Alertmanager has it');
    ok($cluster->wait_for(sub { grep { $_ eq '/pager SteadyTextDaemonDown firing' } $monitoring->received }, 30), 'and tells the pager') or diag join "\n", $monitoring->received;
    $cluster->start_echo;
    ok($cluster->wait_for(sub { !grep { $_ eq 'SteadyTextDaemonDown' } $monitoring->firing }, 60), 'with the daemon back it resolves');
    ok($cluster->wait_for(sub { grep { $_ eq '/pager SteadyTextDaemonDown resolved' } $monitoring->received }, 60), 'and the pager hears of it');
}

done_testing;
