# The Grafana board: its structure is sound, and every panel's query has an answer in a real Prometheus that scrapes this server. So do
# service levels. The configuration for sql_exporter gives what rules and board ask for.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Monitoring;
use Test::More;

my $root = $SteadyText::Cluster::ROOT;
sub slurp { my ($path) = @_; open my $file, '<', "$root/$path" or die "$path: $!"; local $/; return scalar <$file> }
my $board = JSON::PP::decode_json(slurp('monitoring/grafana/pg_steadytext.json'));

# ---- structure: what Grafana's dashboard schema wants of what we use -------------------------------------------------------
{
    like($board->{$_} // '', qr/\S/, "the board has its $_") for qw(title uid schemaVersion);
    my (%ids, @cells);
    for my $panel (@{ $board->{panels} }) {
        my $name = "panel $panel->{title}";
        my @wrong;
        push @wrong, 'id used twice' if $ids{ $panel->{id} }++;
        push @wrong, 'unknown type' unless $panel->{type} =~ /^(?:row|timeseries|stat)$/;
        my $at = $panel->{gridPos};
        push @wrong, 'beyond the grid' if grep { !defined $_ || /\D/ } @{$at}{qw(x y w h)} or $at->{x} + $at->{w} > 24;
        for my $y ($at->{y} .. $at->{y} + $at->{h} - 1) {
            for my $x ($at->{x} .. $at->{x} + $at->{w} - 1) { push @wrong, 'overlaps' if $cells[$y][$x]++ }
        }
        if ($panel->{type} ne 'row') {
            push @wrong, 'no data source' unless $panel->{datasource}{uid} eq '${datasource}';
            push @wrong, 'no unit' unless $panel->{fieldConfig}{defaults}{unit};
            my %refs;
            push @wrong, 'no targets' unless @{ $panel->{targets} };
            for my $target (@{ $panel->{targets} }) {
                push @wrong, 'refId' if $target->{refId} !~ /^[A-Z]$/ or $refs{ $target->{refId} }++;
                push @wrong, 'not of the chosen server' unless $target->{expr} =~ /instance=~"\$instance"/;
            }
        }
        is("@wrong", '', $name);
    }
    is_deeply([ map { $_->{name} } @{ $board->{templating}{list} } ], [qw(datasource instance)], 'variables');
    my @anchors = map { /^## (\S+)/ ? $1 : () } split /\n/, slurp('docs/runbooks.md');
    my $known   = join '|', @anchors;
    my @links   = (slurp('monitoring/grafana/pg_steadytext.json') . slurp('monitoring/prometheus/steadytext.rules.yml')) =~ /runbooks\.md#([\w-]+)/g;
    cmp_ok(scalar @links, '>', 10, 'board and alerts point to runbooks');
    is(join(' ', grep { !/^(?:$known)$/ } @links), '', 'that are there');
}

my $listen  = '127.0.0.1:' . SteadyText::Monitoring::free_port();
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.metrics_listen = '$listen'" ]);
my %metrics = map { $_ => 1 } split /\n/, $cluster->sql('SELECT DISTINCT name FROM steadytext_metrics()');

# Every condition has a section, and the same name in the table and the metrics.
{
    my $text = slurp('docs/runbooks.md');
    for my $condition (split /\n/, $cluster->sql(q(SELECT DISTINCT labels ->> 'condition' FROM steadytext_metrics() WHERE labels ? 'condition'))) {
        (my $section = $condition) =~ tr/_/-/;
        like($text, qr/^## $section$/m, "a runbook for $condition");
        like($text, qr/^\| `$condition` \|/m, 'a row of its table');
    }
}

# ---- sql_exporter: each metric's query gives its value and labels ----------------------------------------------------------
{
    my @given;
    for my $metric (split /^      - (?=metric_name)/m, slurp('monitoring/sql_exporter/sql_exporter.yml')) {
        my ($name) = $metric =~ /^metric_name: (\w+)/ or next;
        my ($labels) = $metric =~ /key_labels: \[([^\]]*)\]/;
        my ($query)  = $metric =~ /query: "(.*)"$/m;
        my $columns  = join ', ', (split(/, /, $labels // ''), 'value');
        my $answer   = $cluster->try_sql("SELECT count(*) FROM (SELECT $columns FROM ($query) q) r");
        push @given, $name;
        cmp_ok($answer->{out} || 0, '>', 0, "sql_exporter: $name") or diag $answer->{err};
    }
    my %given = map { $_ => 1 } @given;
    my %asked = map { $_ => 1 } (slurp('monitoring/grafana/pg_steadytext.json') . slurp('monitoring/prometheus/steadytext.rules.yml')) =~ /(steadytext_\w+)/g;
    is(join(' ', grep { $metrics{$_} && !$given{$_} } sort keys %asked), '', 'all that rules and board ask for');
    is(join(' ', grep { !$metrics{$_} } @given), '', 'and nothing that is not');
}

# ---- with a real Prometheus ----------------------------------------------------------------------------------------------
SKIP: {
    skip 'prometheus is not installed', 1 unless SteadyText::Monitoring::available();
    my $monitoring = SteadyText::Monitoring->new;
    $monitoring->start_prometheus($listen);
    # Something of everything: hits, misses, failures, embeddings, limited calls.
    $cluster->sql(q(CREATE ROLE app LOGIN; SELECT steadytext_rate_limit_set('app', requests => 1, per => '1 day')));
    my $load = $cluster->session->send(q(SET client_min_messages = error; DO $$ BEGIN FOR i IN 1 .. 100000 LOOP
        PERFORM steadytext_generate('board ' || i % 500), steadytext_embed('board ' || i % 50);
        IF i % 20 = 0 THEN PERFORM steadytext_generate('!fault:error ' || i); END IF; PERFORM pg_sleep(0.002); END LOOP; END $$));
    my @panels = grep { $_->{type} ne 'row' } @{ $board->{panels} };
    for my $panel (@panels) {
        for my $target (@{ $panel->{targets} }) {
            (my $query = $target->{expr}) =~ s/\$instance/.*/g;
            $query =~ s/\$__rate_interval/15s/g;
            my @values;
            ok($cluster->wait_for(sub { @values = $monitoring->query($query); grep { /^[\d.e+-]+$/i } @values }, 60), "$panel->{title} $target->{refId}: $query");
        }
    }
    ok(($monitoring->query('steadytext:cached_response_seconds:mean < 0.1'))[0], 'service level: cached answers are quick');
    ok(defined(($monitoring->query('steadytext:real_answers:ratio < 0.995'))[0]), 'service level: with so many failures real answers are too few');
    is(($monitoring->query('steadytext:daemon_found:ratio'))[0], 1, 'service level: each probe found a daemon');

    # Every panel drawn from its live answers; with STEADYTEXT_DRAW_BOARD=docs/board.svg a picture of some minutes for the docs.
    my $file    = $ENV{STEADYTEXT_DRAW_BOARD} // $cluster->run_dir . '/board.svg';
    my $seconds = $ENV{STEADYTEXT_DRAW_BOARD} ? 180 : 30;
    my $begin   = time;
    $cluster->wait_for(sub { time - $begin > $seconds }, $seconds + 5) if $ENV{STEADYTEXT_DRAW_BOARD};
    is(system("$root/monitoring/grafana/draw-board $root/monitoring/grafana/pg_steadytext.json http://$monitoring->{prometheus} $seconds > $file"), 0, 'each panel is drawn');
    $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%board%' AND pid <> pg_backend_pid()));
    $load->finish;
}

done_testing;
